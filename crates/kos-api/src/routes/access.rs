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

/// Whether a request over TLS carries a token of [`kos_base::token`]. Over a local socket none does: the kernel names the
/// caller of each connection, and there is no other end to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// It does, or it is refused.
    Needed,
    /// It may go without, since this is so.
    Exempt(&'static str),
}

/// Only reached over the socket, where nothing stands between the two.
pub(super) const SOCKET: Token =
    Token::Exempt("the local socket, on which the kernel names the caller, is the one way to it");
/// Nobody says who they are.
pub(super) const PUBLIC: Token =
    Token::Exempt("everybody may read it, and it says nothing about this authority");
/// Files that foreign programs verify.
pub(super) const SIGNED: Token = Token::Exempt(
    "what it answers is signed or hashed for those who verify it, with whatever program they have",
);
/// What comes from agents, by whomever.
pub(super) const AGENT: Token = Token::Exempt(
    "the agent signs what it asks for, in the body, and it counts once: who brings it can alter nothing",
);
/// What monitors poll and guardians listen to.
pub(super) const WATCHED: Token = Token::Exempt(
    "it only tells how things are, and monitors and guardians listen with programs of their own",
);

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

    /// What somebody lacks to whom this way is closed, in words.
    pub const fn need(self) -> &'static str {
        match self {
            Self::Anyone | Self::Agent => "a certificate",
            Self::DeviceSelf => "the device itself",
            Self::OperatorRead => "an operator",
            Self::OperatorWrite => "the role operator",
            Self::Admin => "the role admin",
            Self::Local => "somebody on the authority's own machine",
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
