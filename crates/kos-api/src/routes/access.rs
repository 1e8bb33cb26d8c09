//! Who may call a route. The declaration; the authority enforces it on every request.

use crate::operator::OperatorRole;

/// One way to be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody who can reach the listener.
    Anyone,
    /// An agent, which has no certificate: what it hands in is signed with the key of its pairing, and the handler judges
    /// that before anything else. Whoever has a certificate of any kind may bring it.
    Agent,
    /// A device, about itself.
    DeviceSelf,
    /// An operator who may look.
    OperatorRead,
    /// An operator who may make tickets and decide on devices.
    OperatorWrite,
    /// Who may decide on the authority.
    Admin,
    /// Who may do so on its own machine: what goes through here is worth as much as the keys of the root.
    Local,
}

/// Who calls, after authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Nobody in particular.
    Anonymous,
    /// A device in good standing.
    Device(Object),
    /// A certificate of an operator.
    Operator(OperatorRole),
    /// The server's own user, root or group `kos` on the local socket.
    LocalAdmin,
}

/// What a device asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// Itself.
    Own,
    /// Something else.
    Other,
}

impl Access {
    /// Whether this way is open to `caller`.
    pub fn admits(self, caller: Caller) -> bool {
        match (self, caller) {
            (Self::Anyone, _) | (_, Caller::LocalAdmin) => true,
            (_, Caller::Anonymous) => false,
            (Self::Agent, _) => true,
            (Self::DeviceSelf, Caller::Device(object)) => object == Object::Own,
            (Self::DeviceSelf, Caller::Operator(_)) => false,
            (Self::OperatorRead | Self::OperatorWrite | Self::Admin, Caller::Device(_)) => false,
            (Self::Local, Caller::Device(_) | Caller::Operator(_)) => false,
            (Self::OperatorRead, Caller::Operator(_)) => true,
            (Self::OperatorWrite, Caller::Operator(role)) => role >= OperatorRole::Operator,
            (Self::Admin, Caller::Operator(role)) => role == OperatorRole::Admin,
        }
    }

    /// The word that documents use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anyone => "anyone",
            Self::Agent => "agent",
            Self::DeviceSelf => "device-self",
            Self::OperatorRead => "operator-read",
            Self::OperatorWrite => "operator-write",
            Self::Admin => "admin",
            Self::Local => "local",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_ways_and_callers_is_as_declared() {
        use Access::{Admin, Agent, Anyone, DeviceSelf, Local, OperatorRead, OperatorWrite};
        let ways = [Anyone, Agent, DeviceSelf, OperatorRead, OperatorWrite, Admin, Local];
        for (caller, admitted) in [
            (Caller::Anonymous, [true, false, false, false, false, false, false]),
            (Caller::Device(Object::Own), [true, true, true, false, false, false, false]),
            (Caller::Device(Object::Other), [true, true, false, false, false, false, false]),
            (Caller::Operator(OperatorRole::Viewer), [true, true, false, true, false, false, false]),
            (Caller::Operator(OperatorRole::Operator), [true, true, false, true, true, false, false]),
            (Caller::Operator(OperatorRole::Admin), [true, true, false, true, true, true, false]),
            (Caller::LocalAdmin, [true, true, true, true, true, true, true]),
        ] {
            assert_eq!(ways.map(|way| way.admits(caller)), admitted, "{caller:?}");
        }
    }
}
