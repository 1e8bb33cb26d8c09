//! Who may ask: root, the daemon's own user, and the members of the group `kos`.

use std::fs;

use tokio::net::unix::UCred;

/// The group whose members are admins of the device.
const GROUP: &str = "kos";

/// Whether whoever asks is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Admitted,
    Stranger,
}

/// The users of this machine who are admitted, besides root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Household {
    own: u32,
    group: Option<u32>,
    members: Vec<u32>,
}

impl Household {
    /// Reads the machine's own lists once; a change there holds from the next start.
    pub(super) fn of_this_machine() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self::parse(rustix::process::geteuid().as_raw(), &read("/etc/group"), &read("/etc/passwd"))
    }

    fn parse(own: u32, groups: &str, users: &str) -> Self {
        let entry = groups.lines().find_map(|line| line.strip_prefix(GROUP)?.strip_prefix(':'));
        let Some((_, entry)) = entry.and_then(|entry| entry.split_once(':')) else {
            return Self { own, group: None, members: Vec::new() };
        };
        let (id, names) = entry.split_once(':').unwrap_or((entry, ""));
        let member = |line: &str| {
            let mut fields = line.split(':');
            let (name, id) = (fields.next()?, fields.nth(1)?);
            names.split(',').any(|member| member == name && !name.is_empty()).then(|| id.parse().ok())?
        };
        Self { own, group: id.parse().ok(), members: users.lines().filter_map(member).collect() }
    }

    /// The group's number, if there is such a group.
    pub(super) const fn group(&self) -> Option<u32> {
        self.group
    }

    pub(super) fn judge(&self, peer: &UCred) -> Standing {
        self.judge_ids(peer.uid(), peer.gid())
    }

    fn judge_ids(&self, user: u32, group: u32) -> Standing {
        let admitted =
            user == 0 || user == self.own || self.group == Some(group) || self.members.contains(&user);
        if admitted { Standing::Admitted } else { Standing::Stranger }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUPS: &str = "root:x:0:\nkosher:x:90:eve\nkos:x:900:anna,ben\nother:x:901:eve\n";
    const USERS: &str =
        "root:x:0:0::/:/sh\nanna:x:1001:1001::/:/sh\nben:x:1002:1002::/:/sh\neve:x:1003:1003::/:/sh\n";

    #[test]
    fn root_the_own_user_and_the_group_are_admitted_and_nobody_else() {
        let household = Household::parse(500, GROUPS, USERS);
        for (user, group, standing) in [
            (0, 0, Standing::Admitted),
            (500, 500, Standing::Admitted),
            (1001, 1001, Standing::Admitted),
            (1002, 1002, Standing::Admitted),
            (1003, 900, Standing::Admitted),
            (1003, 1003, Standing::Stranger),
            (1004, 90, Standing::Stranger),
        ] {
            assert_eq!(household.judge_ids(user, group), standing, "{user} {group}");
        }
    }

    #[test]
    fn a_machine_without_the_group_or_with_odd_lists_admits_no_more() {
        for (groups, users) in [("", ""), ("kos", USERS), ("kos:x", USERS), ("kos:x::", ":x:0:\n::::\n\n")] {
            let household = Household::parse(500, groups, users);
            assert_eq!(household.judge_ids(1001, 1001), Standing::Stranger, "{groups:?}");
            assert_eq!(household.judge_ids(500, 1), Standing::Admitted, "{groups:?}");
        }
    }
}
