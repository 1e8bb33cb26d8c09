//! 08, from 80 on: the second verifier of SEC-4.

super::codes! {
    SECOND_ABSENT = 880, "no second verifier has judged the device in time", Unreachable, "name one and keep it running: kosctl attest verifier list";
    SECOND_INVALID = 881, "what the second verifier said does not hold", Trust, "find out who answers in its place: kosctl attest verifier list";
    SECOND_REFUSED = 882, "the second verifier does not believe the device", Refused, "look at its reason in the log of the verifier, and at its lists: kosd log --event second_verdict";
    SECOND_UNFIT = 883, "the device may not be a second verifier", Refused, "a second verifier is another device in service with SEC-3 or higher: kosctl device show DEVICE";
    SECOND_UNKNOWN = 884, "that device is no second verifier", NotFound, "`kosctl attest verifier list` shows them";
    SECOND_EXISTS = 885, "that device is a second verifier already, or there are as many as there may be", Conflict, "`kosctl attest verifier list` shows them";
    SECOND_UNABLE = 886, "the second verifier cannot judge", Unreachable, "give it lists of its own, and name them on it as `verifier.file`";
    SECOND_LISTS = 887, "the lists of the second verifier cannot be used", Usage, "write the file as docs/guide/attestation.md says";
    SECOND_TRANSCRIPT = 888, "the transcript of an attestation cannot be read", Trust, "run the same version of kOS on the authority and on the second verifier";
}
