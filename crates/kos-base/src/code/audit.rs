//! 05: the audit log.

super::codes! {
    LOG_EDITED = 501, "a log entry was changed", Trust, "keep this copy as evidence and compare it with another";
    LOG_TORN = 502, "the log ends inside an entry", Trust, "restart the authority: it recovers what was acknowledged";
    LOG_CHECKPOINT = 503, "the checkpoint is not valid", Trust, "get it again, with the right key";
    LOG_FORKED = 504, "the log was forked", Trust, "keep both copies as evidence";
    LOG_REWOUND = 505, "the log is shorter than it was", Trust, "find out who restored or cut it";
    LOG_PROOF = 506, "the proof does not hold", Trust, "ask for it again";
    LOG_ENTRY_TOO_LARGE = 507, "the log entry is too large", Usage, "send less detail";
    LOG_NO_SUCH_ENTRY = 508, "no such log entry", NotFound, "kosctl audit list";
    LOG_DIFFERS = 509, "the log differs from the signed state and is not extended", Trust, "stop, keep a copy, and verify: kosctl audit verify";
    LOG_SIGNATURE = 510, "the log's key did not sign this", Trust, "keep it as evidence, and check that the key is that of this log";
    LOG_DELETED = 511, "log entries are missing", Trust, "keep this copy as evidence and compare it with another";
    LOG_REORDERED = 512, "log entries stand in another order", Trust, "keep this copy as evidence and compare it with another";
    LOG_TRUNCATED = 513, "the last entries of the log are missing", Trust, "keep this copy as evidence and compare it with another";
    LOG_ENTRY_MALFORMED = 514, "the log entry is not well formed", Usage, "use a version as new as the one that wrote it";
    LOG_VALUE_ERASED = 515, "the value was erased", NotFound, "nobody can bring it back; the entry itself stays provable";
    LOG_VERIFIER_KEY = 516, "the verifier key of the log is not valid", Usage, "copy it again: kosctl audit checkpoint -o json shows it";
    LOG_TREE = 517, "the hashes of the log cannot be used", Trust, "restart the authority, which writes them again from the entries";
    WITNESS_REQUEST = 520, "not a request to a witness", Usage, "send what C2SP tlog-witness calls add-checkpoint";
    WITNESS_MEMORY = 521, "what the witness remembers of the log cannot be used", Trust, "it does not cosign this log; bring the file back, or let it be another witness: docs/guide/witness.md";
    WITNESS_POLICY = 522, "no such number of witnesses", Usage, "kosctl audit witness list shows how many there are; none may be counted twice";
    WITNESS_EVIDENCE = 523, "these are not two checkpoints of this log", Usage, "give two notes that the log's key signed, and that key";
    WITNESS_UNKNOWN = 524, "no such witness", NotFound, "kosctl audit witness list";
    WITNESS_DISAGREES = 525, "a witness holds another tree of this log", Trust, "keep everything as it is, find out who restored or rewrote the log: docs/guide/witness.md";
    WITNESS_UNREACHABLE = 526, "the witness does not answer with a cosignature", Unreachable, "look whether address and key are right and it runs; it is asked again by itself";
    WITNESS_LOG_UNKNOWN = 527, "no such log is witnessed here", NotFound, "kosctl audit witness serve list";
    WITNESS_URL = 528, "not the address of a witness", Usage, "http:// or https://, a host, and the path before /add-checkpoint";
    LOG_UNWITNESSED = 529, "too few known witnesses cosigned the log", Trust, "ask the witnesses themselves what they hold: docs/guide/witness.md";
}
