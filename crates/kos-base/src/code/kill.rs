//! 06, from 90 on: the kill switch.

super::codes! {
    KILL_ARMED = 690, "the kill switch is armed already", Conflict, "fire it with its code, or disarm it first: kosctl kill disarm";
    KILL_NOT_ARMED = 691, "the kill switch is not armed", Conflict, "arm it first: kosctl kill arm --delete-program, or --keep-program";
    KILL_CODE = 692, "this is not the code that arming has shown", Refused, "type the code that kosctl kill arm has shown; the third wrong one disarms";
    KILL_EXPIRED = 693, "the arming has expired", Refused, "arm it again: kosctl kill arm --delete-program, or --keep-program";
    KILL_DISARMED = 694, "three wrong codes: the kill switch is disarmed", Refused, "find out who typed them, then arm it again: kosctl kill arm";
    KILLED = 695, "this was destroyed by its kill switch", Conflict, "nothing brings it back; verify the notice: kosctl kill verify FILE";
    KILL_FIRED = 696, "the kill switch was fired", Conflict, "there is no way back; see how far it is: kosctl kill status";
    KILL_NOTICE = 697, "this is not a death notice, or somebody changed it", Trust, "ask for another copy of death-notice.cose";
}
