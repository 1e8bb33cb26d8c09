//! 07, from 60 on: quarantine.

super::codes! {
    ORDER_INVALID = 760, "the order of quarantine is not one of this authority for this device", Trust, "find out who answers as the authority; the device goes on as it was";
    ORDER_STALE = 761, "the order of quarantine is from before the device came back", Trust, "find out who replays old orders; the device goes on as it was";
    IN_QUARANTINE = 762, "the device is in quarantine", Refused, "look at its case: kosctl device show DEVICE; it comes back by kosctl device reinstate DEVICE";
    APPROVED_ALREADY = 763, "the same person has approved the reinstatement already", Conflict, "have another operator repeat it: kosctl device reinstate DEVICE";
    APPROVER = 764, "a device of SEC-4 is reinstated by operators with certificates only", Refused, "repeat it as an operator, with a context of your own: kosctl context use NAME";
    NO_BUNDLE = 765, "there is no forensic bundle of this device", NotFound, "see whether the device has confirmed its quarantine: kosctl device show DEVICE";
    BUNDLE_KEY = 766, "this is not an X25519 recipient of age", Usage, "give the line that begins with age1: age-keygen -y FILE";
    PROOF_LESS = 767, "a device that has shown its TPM comes back only by showing the same one again, with no less than before", Refused, "look at what it showed: kosctl device show DEVICE, kosctl attest show DEVICE; a device whose TPM is another one is enrolled anew";
}
