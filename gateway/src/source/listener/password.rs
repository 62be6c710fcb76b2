//! Passwords as argon2id hashes in PHC form, as `tidegate hash-password` prints them.

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};

/// Hashes a password with a fresh salt.
///
/// # Errors
/// What the hash function said; with the default parameters only an absurdly long password.
pub fn hash(password: &[u8]) -> Result<String, String> {
    Argon2::default()
        .hash_password(password)
        .map(|hash| hash.to_string())
        .map_err(|error| format!("the password cannot be hashed: {error}"))
}

/// Whether `password` belongs to `hash`. A string that is no hash belongs to no password.
pub fn verify(hash: &str, password: &[u8]) -> bool {
    PasswordHash::new(hash)
        .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
}

/// A hash that no password belongs to, so that unknown users take as long as wrong passwords.
pub fn decoy() -> String {
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$c1mJp0zQ6s0oZcJd0tO0kz8n9mZ1m6f2b5l8uV0Yx3A".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_belongs_to_its_own_hash_only() {
        let hash = hash(b"open sesame").expect("hashes");
        assert!(hash.starts_with("$argon2id$"));
        assert!(verify(&hash, b"open sesame"));
        assert!(!verify(&hash, b"open sesam"));
        assert!(!verify("", b"") && !verify("$argon2id$nonsense", b"x"));
        assert!(!verify(&decoy(), b""));
    }
}
