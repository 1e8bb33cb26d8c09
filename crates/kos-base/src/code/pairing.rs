//! 08: pairings of devices, and what agents are granted.

super::codes! {
    PAIR_UNKNOWN = 840, "there is no such pairing", NotFound, "kosctl device pairings DEVICE lists them";
    PAIR_EXISTS = 841, "the device is paired so already, or that is proposed", Conflict, "end the one that there is first: kosctl device unpair DEVICE --from PARTNER";
    PAIR_INVALID = 842, "with this a device cannot be paired", Usage, "--with takes user:NAME or kai:ID; an agent needs --key";
    PAIR_PROOF = 843, "what was signed confirms no pairing of this device", Trust, "sign the pairing that is proposed now, with the key that it names";
    PAIR_NOT_YOURS = 844, "a pairing is confirmed by the two whom it is about", Refused, "let the person confirm it with their own certificate: kosctl device confirm-pairing DEVICE";
    PAIR_NONE = 845, "the device is not paired with this agent", Refused, "kosctl device pairings DEVICE tells what is confirmed and by whom";
    PAIR_LIMIT = 846, "the device has as many pairings or grants as there may be", Conflict, "end one that is not needed any more";
    BONDS_UNSOUND = 847, "what came of the pairings is damaged or not for this device", Trust, "the device keeps what it holds: look at the log of the authority";
    BONDS_OLDER = 848, "what came of the pairings is older than what the device holds", Trust, "after a restore, pair again: that gives a higher number";
    GRANT_UNKNOWN = 850, "there is no such grant, or it was revoked", NotFound, "kosctl agent grants lists them";
    GRANT_INVALID = 851, "this is no grant", Usage, "docs/spec/grant.md says what a grant may say";
    GRANT_NO_DOOR = 852, "the grant is about something that nothing decides yet", Refused, "docs/spec/grant.md says which capabilities have doors";
    GRANT_WIDENED = 853, "a grant is only ever narrowed", Refused, "make another grant: kosctl agent grant";
    GRANT_EXPIRED = 854, "the grant has run out", Refused, "make another grant, or override it: kosctl agent override GRANT";
    GRANT_USED_UP = 855, "the grant is used up", Refused, "make another grant, or override it: kosctl agent override GRANT";
    GRANT_SCOPE = 856, "the grant does not cover this", Refused, "kosctl agent show GRANT tells what it covers";
    GRANT_TRUST = 857, "the trust level of the agent does not reach so far", Refused, "pair the device with a higher trust level, or ask for less";
    GRANT_CONDITION = 858, "a condition of the grant does not hold", Refused, "kosctl agent show GRANT tells its conditions";
    GRANT_STOPPED = 859, "a person has stopped the grant for now", Refused, "kosctl agent show GRANT tells until when, and why";
    CALL_FORGED = 860, "the call was not signed by this agent for this authority", Trust, "sign it with the key of the pairing";
    CALL_REPLAYED = 861, "the call was made before, or not now", Trust, "give each call the present time, and a higher number than the one before";
    CALL_NOT_TAKEN = 862, "the device did not take the call", Unreachable, "the use counts as made: look whether the device is online, then make another call";
    MODULE_UNKNOWN = 865, "there is no such enforcement module", NotFound, "kosctl policy list --modules lists them";
    MODULE_UNMET = 866, "the device does not meet a mandatory enforcement module", Refused, "kosctl device modules DEVICE tells which, and why";
}
