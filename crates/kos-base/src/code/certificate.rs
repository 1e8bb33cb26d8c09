//! 03: certificates, revocation lists and kIDs.

super::codes! {
    CERT_MALFORMED = 301, "the certificate cannot be read", Trust, "get it again from where it was made";
    CERT_CHAIN = 302, "the certificate does not lead to a trusted root", Trust, "check which authority made it";
    CERT_EXPIRED = 303, "the certificate has expired", Trust, "the device recovers by itself when it next reaches its authority";
    CERT_NOT_YET_VALID = 304, "the certificate is not valid yet", Trust, "check the clocks of both ends";
    CERT_REVOKED = 305, "the certificate was revoked", Trust, "kosctl device show DEVICE tells why";
    CERT_PURPOSE = 306, "the certificate is for another purpose", Trust, "use the certificate made for it";
    CERT_IDENTITY = 307, "the certificate names somebody else", Trust, "check the address and the authority";
    CRL_MALFORMED = 308, "the revocation list cannot be read", Trust, "fetch it again";
    CRL_STALE = 309, "the revocation list is too old", Trust, "reach the authority, or fetch a newer list";
    KID_INVALID = 310, "the kID is not valid", Trust, "wait for the next heartbeat, which brings a fresh one";
    KID_EXPIRED = 311, "the kID has expired", Trust, "wait for the next heartbeat, which brings a fresh one";
    ISSUE_FORBIDDEN = 312, "this certificate must not be issued", Refused, "kosctl device show DEVICE tells the profile and its evidence";
    SIGNER_FAULT = 313, "the signing key gave a wrong signature", Other, "check the TPM or token that holds the key, and its key list";
}
