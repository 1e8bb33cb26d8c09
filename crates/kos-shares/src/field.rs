//! Shamir's scheme over GF(256): polynomials through points, and the digest that tells whether a secret is the right one.
//!
//! Shape: a point is the number of a share (public) and a value of as many bytes as the secret has; each byte has a
//! polynomial of its own. Number 255 is the secret, number 254 its digest, 0 to 15 are the shares.
//!
//! Invariants: secrets are only ever multiplied by public factors, and no branch or index depends on one. That is all that
//! is needed of the field, which is why it is no library: see the tests for what holds it to the one of AES.
//!
//! Errors: [`ShareError::Digest`] when the points lie on no polynomial that was made for a secret.
//!
//! Source: SLIP-39, "Polynomial interpolation", "Sharing a secret"; `docs/spec/recovery.md` RCV-5, RCV-10.

use aws_lc_rs::hmac;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::ShareError;

const SECRET: u8 = 255;
const DIGEST: u8 = 254;

/// Bytes of the digest share that are the digest; the others are random.
pub(crate) const DIGEST_BYTES: usize = 4;

/// A number, and what the polynomials are there.
pub(crate) type Point<'a> = (u8, &'a [u8]);

/// Splits `secret` into the values of shares 0 to `total` - 1, any `threshold` of which recover it.
///
/// `fresh` are `(threshold - 1) * secret.len() - DIGEST_BYTES` random bytes; of more, the first ones count.
pub(crate) fn split(secret: &[u8], threshold: u8, total: u8, fresh: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    if threshold < 2 {
        return (0..total).map(|_| Zeroizing::new(secret.to_vec())).collect();
    }
    let (padding, fresh) = fresh.split_at(secret.len() - DIGEST_BYTES);
    let digest = Zeroizing::new([digest(padding, secret).as_slice(), padding].concat());
    let drawn = (0..threshold - 2).zip(fresh.chunks_exact(secret.len()));
    let points: Vec<Point<'_>> = drawn.chain([(DIGEST, digest.as_slice()), (SECRET, secret)]).collect();
    (0..total).map(|number| interpolate(&points, number)).collect()
}

/// The secret behind as many points as its threshold says. Their numbers differ, their values are equally long.
pub(crate) fn recover(points: &[Point<'_>]) -> Result<Zeroizing<Vec<u8>>, ShareError> {
    if let [(_, value)] = points {
        return Ok(Zeroizing::new(value.to_vec()));
    }
    let secret = interpolate(points, SECRET);
    let found = interpolate(points, DIGEST);
    let (claimed, padding) = found.split_at_checked(DIGEST_BYTES).ok_or(ShareError::Digest)?;
    let is_right: bool = digest(padding, &secret).ct_eq(claimed).into();
    if is_right { Ok(secret) } else { Err(ShareError::Digest) }
}

fn digest(padding: &[u8], secret: &[u8]) -> [u8; DIGEST_BYTES] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, padding), secret);
    let mut digest = [0; DIGEST_BYTES];
    digest.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
    digest
}

/// What the polynomials of lowest degree through `points` are at `number`.
fn interpolate(points: &[Point<'_>], number: u8) -> Zeroizing<Vec<u8>> {
    let bytes = points.first().map_or(0, |(_, value)| value.len());
    let mut sum = Zeroizing::new(vec![0; bytes]);
    for (here, value) in points {
        let others = points.iter().map(|(there, _)| *there).filter(|there| there != here);
        let (above, below) = others
            .fold((1, 1), |(above, below), there| (times(number ^ there, above), times(here ^ there, below)));
        let factor = times(above, inverse(below));
        for (to, from) in sum.iter_mut().zip(*value) {
            *to ^= times(factor, *from);
        }
    }
    sum
}

/// The product modulo x^8 + x^4 + x^3 + x + 1, in eight equal steps.
fn times(public: u8, secret: u8) -> u8 {
    let step = |(product, power): (u8, u8), bit: u8| {
        (product ^ (power * ((public >> bit) & 1)), (power << 1) ^ ((power >> 7) * 0x1b))
    };
    (0..8).fold((0, secret), step).0
}

/// x^254, which is 1/x, and 0 for 0.
fn inverse(public: u8) -> u8 {
    (0..254).fold(1, |product, _| times(public, product))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_aes() {
        // FIPS 197, 4.2 and 4.2.1.
        for (a, b, product) in
            [(0x57, 0x83, 0xc1), (0x57, 0x13, 0xfe), (0x57, 0x80, 0x38), (0x57, 0x02, 0xae)]
        {
            assert_eq!((times(a, b), times(b, a)), (product, product));
        }
        // Powers of x + 1 run through every element but 0 once, and logarithms add up.
        let powers: Vec<u8> =
            (0..255).scan(1, |power, _| Some(core::mem::replace(power, times(3, *power)))).collect();
        let log = |x: u8| powers.iter().position(|power| *power == x);
        for a in 0..=255 {
            for b in 0..=255 {
                let expected = log(a).zip(log(b)).map_or(0, |(i, j)| powers[(i + j) % 255]);
                assert_eq!(times(a, b), expected);
            }
        }
    }

    #[test]
    fn inverses_are_inverse() {
        assert!((1..=255).all(|x| times(x, inverse(x)) == 1));
        assert_eq!(inverse(0), 0);
    }

    #[test]
    fn shares_lie_on_the_polynomial_of_the_drawn_bytes() {
        // With threshold 3 the first share is what was drawn.
        let fresh: Vec<u8> = (0..28).chain(100..132).collect();
        let shares = split(&[7; 32], 3, 5, &fresh);
        assert_eq!(shares[0].as_slice(), &fresh[28..]);
        let points: Vec<Point<'_>> = (0..).zip(shares.iter().map(|share| share.as_slice())).collect();
        assert_eq!(recover(&points[2..]).unwrap().as_slice(), &[7; 32]);
        assert_eq!(recover(&points[1..3]), Err(ShareError::Digest), "two of three");
    }
}
