//! 02: enrolment, registry and decommissioning.

super::codes! {
    TICKET_MALFORMED = 201, "this is not an enrolment ticket", Usage, "copy the whole ticket, from `kos1.` on";
    TICKET_EXPIRED = 202, "this enrolment ticket has expired", Refused, "make a new one on the authority: kosctl ticket create --role ROLE";
    TICKET_SPENT = 203, "this enrolment ticket has been used", Refused, "make a new one on the authority: kosctl ticket create --role ROLE";
    TICKET_UNKNOWN = 204, "this enrolment ticket is not known here", Refused, "check that it was made by this authority";
    TICKET_REVOKED = 205, "this enrolment ticket was revoked", Refused, "ask the operator for another";
    TICKET_PROOF = 206, "the proof of the ticket is wrong", Refused, "copy the ticket again; the secret does not fit";
    TICKET_ROLE = 207, "the ticket is for another role", Refused, "make a ticket for this role";
    TICKET_PROFILE = 208, "the ticket does not allow this security profile", Refused, "make a ticket with a higher --profile";
    TICKET_BOUND = 209, "the ticket is bound to another device", Refused, "use it on the device it was made for";
    PIN_MISMATCH = 210, "the authority is not the one that was pinned", Trust, "do not go on; get a new ticket from the real authority";
    PROTOCOL = 211, "the peer broke the enrolment protocol", Other, "update the older of the two programs";
    CSR_INVALID = 212, "the certificate request is not valid", Refused, "make it again: an operator by `kosctl context add NAME --csr FILE`; a device makes its own";
    STATE_FORBIDS = 213, "the device's state does not allow this", Conflict, "kosctl device show DEVICE tells the state and its reason";
    CLONE = 214, "two devices claim the same hardware or identity", Refused, "look at both: kosctl device list";
    RATE_LIMITED = 215, "too many wrong attempts", Unreachable, "wait a minute and try again";
    LOBBY_FULL = 216, "the lobby is full", Unreachable, "approve or reject those who wait: kosctl device list";
    PENDING = 217, "the device waits for approval", Refused, "kosctl device approve DEVICE";
    DOWNGRADE = 218, "a security profile never goes down", Refused, "decommission the device and enrol it anew";
    BANNED = 219, "the device is banned", Refused, "kosctl device show DEVICE tells why";
    RECOVERY_EXHAUSTED = 220, "the device has no recoveries left", Refused, "kosctl device reinstate DEVICE --recoveries 1, or decommission it and enrol it anew";
    DEVICE_UNKNOWN = 221, "no such device", NotFound, "kosctl list";
    CHANNEL_FORBIDDEN = 222, "the device is not marked for channel dev", Refused, "mark it: kosctl device set-channel DEVICE dev --allow-dev";
    ENROLLED_ALREADY = 223, "this device is enrolled already", Conflict, "kosd status shows where; decommission it first";
    NOT_ENROLLED = 224, "this device is not enrolled", NotFound, "kosd enroll";
    IMAGE_ALTERED = 225, "the image is not the one that was signed", Trust, "install a genuine image";
    TICKET_TOO_LONG_LIVED = 226, "a ticket lives at most 10 minutes unless a reason is given", Usage, "use --expires with at most 10m, or add --reason";
    RENEWAL_PROOF = 227, "the proof of the device's keys is wrong", Refused, "make sure that no copy of the device runs; kosctl device show DEVICE";
    TOO_MANY_CODES = 228, "too many authorities want this device", Trust, "use a ticket, or begin anew where only the right authority answers";
    IMAGE_UNVERIFIED = 229, "the device's image is not verified", Refused, "install a signed image with its manifest; SEC-3 and SEC-4 need one";
    BOOTLOADER_UNLOCKED = 230, "the device's bootloader could not be locked", Refused, "mend the lock command, decommission the device and enrol it anew; SEC-3 and SEC-4 need it";
    CODE_MISMATCH = 231, "the digits are not those of the device that waits", Trust, "compare again with the device's own display; if they still differ: kosctl device reject DEVICE";
}
