//! 08, from 90 on: what operators list.

super::codes! {
    GOLDEN_UNMEASURED = 890, "nothing was measured at the start of the device", Refused, "use firmware and a boot loader that measure: these PCRs are what they are when a TPM is switched on";
    EK_LISTED = 891, "the endorsement key is listed already", Conflict, "nothing to do: `kosctl attest ek list` shows it";
    OPERATOR_EXISTS = 892, "there is such an operator already", Conflict, "take another name and a key of its own; `kosctl operator list` shows those there are";
}
