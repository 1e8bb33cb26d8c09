//! 06, from 50 on: the shares of a recovery key.

super::codes! {
    SHARE_WORD = 650, "a word is not in the list of words", Usage, "compare this word with the sheet";
    SHARE_LENGTH = 651, "a share has another number of words", Usage, "count the words: a sheet of ours has 33";
    SHARE_CHECKSUM = 652, "the words of the share do not hold together", Usage, "compare each word and their order with the sheet";
    SHARE_MALFORMED = 653, "the share is malformed", Refused, "take another sheet; no sheet of ours says this";
    SHARE_OTHER_SET = 654, "the share belongs to another set", Conflict, "look at the set number on the sheets, and begin again with sheets of one set";
    SHARE_NOT_CURRENT = 655, "the share is not one of those in use now", Refused, "ask its holder for the sheet of the last sharing";
    SHARE_DOUBLED = 656, "the share was given before", Conflict, "take a sheet of another holder";
    SHARE_CONTRADICTING = 657, "two different shares have one number", Trust, "find out which of the two sheets is not genuine, and begin again";
    SHARE_NOT_NEEDED = 658, "enough shares were given already", Conflict, "join those that were given";
    SHARES_MISSING = 659, "too few shares were given", Usage, "ask more holders";
    SHARES_DIGEST = 660, "the shares do not fit together", Trust, "begin again with sheets of other holders, to find the one that is not genuine";
    SHARES_NO_KEY = 661, "what the shares hold is no recovery key", Refused, "use the program that made them";
    SHARE_PLAN = 662, "a key cannot be split like this", Usage, "choose 2 to 16 shares of which at least 2 are needed, or a single one";
    SHARE_PASSPHRASE = 663, "the passphrase has characters that no set can have", Usage, "type it again: letters, digits and signs of ASCII";
}
