//! 07: security profiles and policy.

super::codes! {
    POLICY_SCOPE = 700, "the security profile does not allow this", Refused, "kosctl policy explain DEVICE tells which rule decides";
    POLICY_EVIDENCE = 701, "the device has not proven enough for this security profile", Refused, "kosctl device show DEVICE tells its evidence, kosctl policy show PROFILE what is needed";
    POLICY_AUTHENTICATION = 702, "more has to be shown here", Refused, "enrol the device: an identity key opens the enrolment door alone";
    POLICY_CONTRADICTION = 703, "this says another security profile than the certificate or the record", Trust, "look at the log: kosctl audit list --device DEVICE";
    POLICY_PEER = 704, "the security profile of one of the two does not allow them to speak like this", Refused, "kosctl policy explain DEVICE --door peer tells which rule decides";
}
