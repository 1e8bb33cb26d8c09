//! 04: the Kind Link Protocol.

super::codes! {
    KLP_ADDRESS = 401, "this is not a KLP address", Usage, "write klp://host/path";
    KLP_MALFORMED = 402, "the message cannot be read", Other, "update the older of the two programs";
    KLP_PROOF = 403, "the message's proof does not hold", Trust, "nothing to do here: the sender must send it again";
    KLP_PROOF_TOO_WEAK = 404, "this kind of message needs a stronger proof", Refused, "sign it";
    KLP_EXPIRED = 405, "the message has expired", Refused, "check the clocks of both ends";
    KLP_FUTURE = 406, "the message comes from the future", Refused, "check the clocks of both ends";
    KLP_REPLAY = 407, "the message was seen before", Refused, "nothing to do: replays are dropped";
    KLP_RECIPIENT = 408, "the message is for somebody else", Refused, "check the address";
    KLP_DECRYPT = 409, "the message cannot be opened", Trust, "the sender must use the recipient's current agreement key";
    KLP_TYPE = 410, "a message of unknown type that must be understood", Refused, "update this program";
    KLP_CHANNEL = 411, "the secure channel failed", Trust, "open a new one";
    KLP_LINK = 412, "the link failed", Unreachable, "it is opened again by itself";
    KLP_SUITE = 413, "the link's cipher suite is too weak for the security profile", Refused, "update the older of the two ends";
    KLP_TTL = 414, "the message lives longer than its type allows", Refused, "use a shorter lifetime";
    KLP_HOP = 415, "the routing of a frame differs from what its sender signed", Trust, "nothing to do here: a relay changed it, and it was refused";
    KLP_PLAIN = 416, "a relayed message that is not encrypted", Refused, "encrypt it to its recipient";
    KLP_SIGNER = 417, "the message is signed by a key that is not known", Trust, "nothing to do here, unless the sender should be known: then check its certificate";
    KLP_SENDER = 418, "the message names a sender that its key does not belong to", Trust, "nothing to do here: it was refused";
    KLP_BEFORE_START = 419, "the message was sent before this node last started", Refused, "nothing to do: it is sent again";
    KLP_MEMORY = 420, "too many messages to remember", Unreachable, "wait until earlier ones expire";
    KLP_TOO_LARGE = 421, "the message is too large", Usage, "send less at once";
}
