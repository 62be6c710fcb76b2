//! Users and groups, as `/etc/passwd` and `/etc/group` list them.

use super::Machine;
use super::serial::Access;

/// A user with all of its groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli::setup) struct User {
    /// Its name, or its number where it has none.
    pub(in crate::cli::setup) name: String,
    /// Its number.
    pub(in crate::cli::setup) uid: u32,
    /// Its first group and all others.
    pub(in crate::cli::setup) gids: Vec<u32>,
}

impl User {
    /// Whether the permission bits `wanted` (`r` is 4, `w` is 2, `x` is 1) are its own of a file.
    pub(in crate::cli::setup) fn may(&self, file: Access, wanted: u32) -> bool {
        let bits = match () {
            () if self.uid == 0 => return true,
            () if self.uid == file.uid => file.mode >> 6,
            () if self.gids.contains(&file.gid) => file.mode >> 3,
            () => file.mode,
        };
        bits & wanted == wanted
    }
}

impl Machine {
    /// The user of this name.
    pub(in crate::cli::setup) fn user_named(&self, name: &str) -> Option<User> {
        self.user(|of, uid| of == name || name.parse() == Ok(uid))
    }

    /// The user of this number, whether it has a name or not.
    pub(in crate::cli::setup) fn user_numbered(&self, number: u32) -> User {
        self.user(|_, uid| uid == number).unwrap_or(User {
            name: number.to_string(),
            uid: number,
            gids: Vec::new(),
        })
    }

    fn user(&self, is_meant: impl Fn(&str, u32) -> bool) -> Option<User> {
        let text = self.text("/etc/passwd");
        let mut lines = text.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let uid = fields.nth(1)?.parse().ok()?;
            let gid: u32 = fields.next()?.parse().ok()?;
            Some((name, uid, gid))
        });
        let (name, uid, gid) = lines.find(|(name, uid, _)| is_meant(name, *uid))?;
        let groups = self.text("/etc/group");
        let others = groups.lines().filter_map(|line| {
            let mut fields = line.split(':').skip(2);
            let gid: u32 = fields.next()?.parse().ok()?;
            let mut members = fields.next().unwrap_or_default().split(',');
            members.any(|member| member.trim() == name).then_some(gid)
        });
        Some(User {
            name: name.to_owned(),
            uid,
            gids: std::iter::once(gid).chain(others).collect(),
        })
    }

    /// The number of the group of this name.
    pub(in crate::cli::setup) fn group_named(&self, name: &str) -> Option<u32> {
        let groups = self.text("/etc/group");
        let mut lines = groups.lines().map(|line| line.split(':'));
        let mut fields = lines.find_map(|mut fields| (fields.next()? == name).then_some(fields))?;
        fields.nth(1)?.parse().ok()
    }

    /// The name of a group, or its number.
    pub(in crate::cli::setup) fn group_name(&self, gid: u32) -> String {
        let groups = self.text("/etc/group");
        let named = groups.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse() == Ok(gid)).then(|| name.to_owned())
        });
        named.unwrap_or_else(|| gid.to_string())
    }

    /// The user of this process, with the groups that it has now.
    pub(in crate::cli::setup) fn user_now(&self) -> User {
        let uid = rustix::process::geteuid().as_raw();
        let groups = rustix::process::getgroups().unwrap_or_default();
        let first = rustix::process::getegid();
        let gids = std::iter::once(first).chain(groups);
        User {
            gids: gids.map(|gid| gid.as_raw()).collect(),
            ..self.user_numbered(uid)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_may_what_one_of_its_groups_may() {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(root.path().join("etc")).expect("a folder");
        let passwd =
            "root:x:0:0::/root:/bin/sh\ntidegate:x:990:985::/var/lib/tidegate:/bin/false\n";
        std::fs::write(root.path().join("etc/passwd"), passwd).expect("room");
        let group = "dialout:x:20:pi,tidegate\ntidegate:x:985:\n";
        std::fs::write(root.path().join("etc/group"), group).expect("room");
        let machine = Machine::new(Some(root.path().to_owned()));
        let user = machine.user_named("tidegate").expect("it is there");
        assert_eq!((user.uid, &*user.gids), (990, &[985, 20][..]));
        let port = |gid, mode| Access { uid: 0, gid, mode };
        assert!(user.may(port(20, 0o660), 6));
        assert!(!user.may(port(5, 0o660), 6));
        assert!(user.may(port(5, 0o666), 6));
        assert_eq!(machine.group_named("dialout"), Some(20));
        assert_eq!(machine.group_name(7), "7");
        assert_eq!(machine.user_numbered(77).name, "77");
    }
}
