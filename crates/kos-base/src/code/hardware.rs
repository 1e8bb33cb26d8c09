//! 06, from 70 on: TPMs and tokens.

super::codes! {
    HARDWARE_ABSENT = 671, "there is no TPM or token", Unreachable, "check that it is there, who may use it, and its address or the path of its module";
    HARDWARE_LOCKED_OUT = 672, "the TPM or token is locked", Refused, "wait until it takes tries again, or let its owner reset it";
    HARDWARE_PIN = 673, "the PIN of the token is wrong", Refused, "put the right PIN in its place before the next try: every try counts";
    HARDWARE_REFUSED = 674, "the TPM or token refuses", Refused, "look at the log for what it says";
    HARDWARE_CLEARED = 675, "another TPM made this, or this one was cleared", Refused, "open it in another way, and seal it again";
    HARDWARE_STATE = 676, "the machine is not in the state for which this was sealed", Refused, "start the machine as it was started then, or open it in another way and seal it again";
    HARDWARE_BLOB = 677, "what the TPM made is damaged", Trust, "restore it from a backup; do not edit it";
    TOKEN_REMOVED = 678, "the token was removed", Unreachable, "put it back";
    HARDWARE_KEY_MISSING = 679, "the token has no such key", NotFound, "check the label, and that the right token is in its place";
    HARDWARE_KEY_EXISTS = 680, "the token has a key of this label already", Conflict, "use it, or choose another label";
    HARDWARE_COUNTER_LOST = 681, "the counter of the TPM is gone or is none of ours", Trust, "find out who removed it; then start once with the counter `none` in the settings, and after that with a counter again";
    HARDWARE_ANSWER = 682, "the TPM or token gave an answer that cannot be right", Trust, "do not use it until it is known why";
    HARDWARE_ELSEWHERE = 683, "the key never leaves its TPM or token", Refused, "make a new key where it is wanted";
}
