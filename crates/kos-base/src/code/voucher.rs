//! 08: vouchers, factory certificates, and nodes that vouch.

super::codes! {
    VOUCHER_MALFORMED = 800, "this is no voucher", Trust, "ask the maker for it again; `docs/spec/voucher.md` says what one is";
    VOUCHER_MAKER = 801, "nobody here trusts the maker of this voucher", Trust, "`kosctl voucher maker add` has its key count, if you trust it";
    VOUCHER_SIGNATURE = 802, "the voucher was not signed by who should have signed it", Trust, "ask the maker or the owner before you for it again, and find out who changed it";
    VOUCHER_OWNER = 803, "the voucher names another owner", Refused, "have the owner that it names endorse it onward: `kosctl voucher owner` shows what they need";
    VOUCHER_DEVICE = 804, "the voucher is for another device", Refused, "look which device it names: `kosctl voucher list`";
    VOUCHER_EXPIRED = 805, "the voucher has run out", Refused, "ask the maker for a new one, or let the device in by ticket";
    VOUCHER_SPENT = 806, "the voucher has let its device in already", Refused, "let the device in by ticket, or ask the maker for a new one; find out why it came twice";
    VOUCHER_CHAIN = 807, "the endorsements of the voucher do not hold", Trust, "ask the owner before you for it again; at most eight endorsements count";
    VOUCHER_ENDORSED = 808, "the device was passed on to another owner", Refused, "it belongs to whom it was endorsed to: `kosctl voucher list`";
    VOUCHER_EXISTS = 809, "this voucher, maker or factory CA is here already", Conflict, "`kosctl voucher list` and `kosctl voucher maker list` show what there is";
    VOUCHER_UNKNOWN = 810, "there is no such voucher, maker or grant", NotFound, "`kosctl voucher list`, `kosctl voucher maker list` and `kosctl voucher node list` show what there is";
    VOUCHER_EVIDENCE = 811, "the device has proven less than its admission demands", Refused, "set `secrets.keys: tpm` on it, or demand less of this maker";
    IDEVID_INVALID = 812, "the factory certificate does not hold", Trust, "name the CA of its maker with `kosctl voucher maker add`, or ask the maker";
    IDEVID_OTHER_KEY = 813, "the factory certificate is of another key", Trust, "have the maker certify the identity key of this device: `kosd factory` prints it";
    IDEVID_ALONE = 814, "the factory certificate alone lets nobody in", Refused, "import a voucher for this serial, or trust the maker with `--certificates admit`";
    SPONSOR_UNKNOWN = 815, "no grant lets that device vouch", Refused, "`kosctl voucher node list` shows who may; `kosctl voucher node add` lets one";
    SPONSOR_SPENT = 816, "that device has vouched for as many as it may", Refused, "grant it more with `kosctl voucher node add`";
    SPONSOR_EXPIRED = 817, "the grant or the vouch has run out", Refused, "grant it anew with `kosctl voucher node add`, and have it vouch again";
    SPONSOR_STOPPED = 818, "the device that vouches is not in service", Refused, "have another one vouch, or let the device in by ticket";
    VOUCH_INVALID = 819, "the vouch does not hold", Trust, "have the node vouch again for the identity key that `kosd factory` prints";
}
