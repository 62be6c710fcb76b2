//! The ranges that went from the middle of the log on purpose: a small file outside sled, so that an opening can tell what
//! was let go from what was lost.

use super::ranges::Ranges;
use crate::engine::disk;
use std::path::Path;

const FILE: &str = "holes";

/// Says which ranges went; written before they go.
pub(crate) fn save(holes: &Ranges, store: &Path) -> std::io::Result<()> {
    disk::write_atomically(&store.join(FILE), &holes.encode())
}

/// None where there is no file, or one that cannot be trusted.
pub(crate) fn load(store: &Path) -> Ranges {
    let bytes = std::fs::read(store.join(FILE)).unwrap_or_default();
    Ranges::decode(&bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_let_go_in_the_middle_is_forgotten_when_the_log_begins_behind_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut holes = load(dir.path());
        assert_eq!(holes, Ranges::default());
        holes.insert(10, 20);
        holes.insert(40, 50);
        holes.insert(21, 30);
        save(&holes, dir.path()).unwrap();
        let mut again = load(dir.path());
        assert_eq!(again.0, [(10, 30), (40, 50)]);
        again.forget_below(31);
        assert_eq!(again.0, [(40, 50)]);
    }
}
