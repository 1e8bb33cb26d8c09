//! 07, from 30 on: attestation.

super::codes! {
    ATTEST_MALFORMED = 730, "the attestation is not what a TPM writes", Trust, "look at the log of the device, and whether something stands between it and its TPM";
    ATTEST_KEY = 731, "a key of the attestation has not the properties that it needs", Trust, "make the keys of the device anew, in its TPM";
    ATTEST_ACTIVATION = 732, "the TPM did not answer the challenge", Trust, "look whether the TPM of the device is the one that it was";
    ATTEST_SIGNATURE = 733, "the attestation key did not sign this", Trust, "find out who changed it: an honest device does not send that";
    ATTEST_STALE = 734, "the attestation answers another question", Trust, "find out who repeats it: an honest device does not";
    ATTEST_OTHER_KEY = 735, "the key is not the one that the TPM certified", Trust, "set `secrets.keys: tpm`, and enrol the device anew if its identity key is elsewhere";
    ATTEST_PCRS = 736, "the quote is of other PCRs than those that were asked for", Trust, "look whether the TPM of the device has a SHA-256 bank that is in use";
    ATTEST_VALUES = 737, "the PCR values are not those of the quote", Trust, "find out who changed them: an honest device does not send that";
    ATTEST_WOUND_BACK = 738, "the TPM is in an earlier state than it was in before", Trust, "look for a copy of the device; a TPM does not go back by itself";
    ATTEST_ABSENT = 739, "the device has shown no TPM", NotFound, "set `secrets.keys: tpm` on it before it enrols";
    ATTEST_GOLDEN_EXISTS = 740, "there is a golden set of this name already", Conflict, "remove it first, or take another name";
    ATTEST_UNKNOWN = 741, "there is no such endorsement key or golden set", NotFound, "`kosctl attest ek list` and `kosctl attest golden list` show them";
    ATTEST_OTHER_TPM = 742, "the TPM is another one than before", Trust, "look for a copy of the device; one whose TPM was exchanged is decommissioned and enrolled anew";
    ATTEST_SHARED = 743, "another device has this TPM", Trust, "find out which of the two is the copy, and decommission the other: kosctl device show DEVICE";
}
