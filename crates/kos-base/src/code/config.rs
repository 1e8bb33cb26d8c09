//! 00: use and configuration.

super::codes! {
    INTERNAL = 1, "an internal fault", Other, "look at the log of the program that failed, with the request id";
    USAGE = 2, "the command line makes no sense", Usage, "kosctl help COMMAND";
    CONFIG_INVALID = 3, "the configuration file is not valid", Usage, "mend the line that is named: docs/reference/config.md lists the keys of config.yaml, docs/guide/install.md tells of authority.yaml";
    CONFIG_UNKNOWN_KEY = 4, "the configuration file has an unknown key", Usage, "remove or correct the key that is named";
    FILE_UNREADABLE = 5, "a file cannot be read", Other, "check that the file exists and who may read it";
    FILE_UNWRITABLE = 6, "a file cannot be written", Other, "check free space and who may write there";
    FILE_DAMAGED = 7, "a file is damaged", Trust, "restore it from a backup; do not edit it";
    LOCKED = 8, "another process uses this data", Conflict, "stop the other process, or choose another --data or --root";
    PORT_TAKEN = 9, "a port is in use", Conflict, "choose another --port-base";
    NO_SERVER = 10, "no authority found", Unreachable, "start one with `cargo run --release`, or name it with --server";
    UNREACHABLE = 11, "the server does not answer", Unreachable, "check that it runs and that the address is right";
    NOT_SIGNED_IN = 12, "this needs an operator, and you are not signed in", NotSignedIn, "run it on the authority itself, or use a context with an operator certificate";
    NOT_FOUND = 13, "no such thing", NotFound, "list what there is";
    AMBIGUOUS = 14, "more than one device fits", Usage, "type more characters of the device id";
    CONFIRM_NEEDED = 15, "this needs a confirmation", Usage, "repeat with --confirm NAME";
    BAD_REQUEST = 16, "the request is malformed", Usage, "compare it with docs/reference/openapi.json";
    TOO_LARGE = 17, "the request is too large", Usage, "send less at once";
    OVERLOADED = 18, "too many requests", Unreachable, "wait a moment and try again";
    SOCKET_OWNER = 19, "the socket belongs to somebody else", Trust, "use only sockets of root or of yourself";
    CLOCK = 20, "the clock is not plausible", Other, "set the clock; certificates cannot be judged without it";
    NOT_INITIALISED = 21, "nothing has been set up here", NotFound, "kos-authority init";
    ALREADY_INITIALISED = 22, "something has been set up here already", Conflict, "use it, or choose another folder";
    ENDPOINT_FORBIDDEN = 23, "the address is not among the allowed endpoints", Refused, "add it to services.allowed_endpoints in config.yaml";
    ANSWER_UNREADABLE = 24, "the server's answer makes no sense", Other, "update the older of the two programs";
    NOT_IN_TIME = 25, "it was ordered, and has not happened yet", Partly, "look again later: kosctl device show DEVICE";
}
