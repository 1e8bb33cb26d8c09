//! 08: tokens of requests, and the key that a device of SEC-1 has of its own.

super::codes! {
    TOKEN_MISSING = 820, "the request has no token", NotSignedIn, "call with kosctl; other programs reach what docs/spec/token.md marks as exempt, or make tokens as it says";
    TOKEN_MALFORMED = 821, "the token of the request cannot be read", NotSignedIn, "make it as docs/spec/token.md says, one for each request";
    TOKEN_WRONG = 822, "the token is not of this request on this connection", Trust, "somebody may have altered or inserted the request: open a new connection, and look at what stands between the two";
    TOKEN_REPLAYED = 823, "the token was used before", Trust, "make a new token for each request, with a higher counter";
    TOKEN_TIME = 824, "the token was made at another time", NotSignedIn, "set the clock of this machine, then ask again";
    OWN_KEY = 825, "the device does not show the key of its own", Trust, "somebody may have copied the key of its certificate: kosctl device events DEVICE, and kosctl device quarantine DEVICE if it was not the device";
    OWN_KEY_NONE = 826, "the device has no key of its own", Refused, "only a device in service with SEC-1 has one";
    OWN_KEY_UNDER_WAY = 827, "the device is being given a new key of its own already", Conflict, "wait until it has shown it: kosctl device events DEVICE --event own_key_confirmed; if somebody may have that one too, order another then";
}
