//! Steps of opening on their own, for the benchmarks. Feature `testkit`.

use crate::{
    height::Column,
    key::{CommitteeKey, Label},
    lagrange::Interpolation,
    lanes::{LANES, Lanes},
    open::{Opening, try_open},
    seal::Ciphertext,
};

/// The secrets that the shares of the same members combine to, as [`crate::decide_all`] combines them.
/// Shares that do not decode count as infinity.
pub fn combine_all(columns: &[Column<'_>]) -> Vec<[u8; 48]> {
    let members: Vec<_> = columns.iter().map(|column| column.member).collect();
    let count = columns.iter().map(|column| column.shares.len()).min().unwrap_or(0);
    let plan = Interpolation::of_secret(&members);
    let mut lanes = Lanes::default();
    let mut secrets = Vec::with_capacity(count);
    for start in (0..count).step_by(LANES) {
        let shares = |column: &Column<'_>| -> Vec<_> {
            let shares = &column.shares[start..count.min(start + LANES)];
            shares.iter().map(|share| share.decode().unwrap_or_default()).collect()
        };
        let points: Vec<_> = columns.iter().map(shares).collect();
        let points: Vec<_> = points.iter().map(|points| &**points).collect();
        secrets.extend(
            plan.evaluate(&mut lanes, &points).into_iter().map(|secret| secret.to_compressed()),
        );
    }
    secrets
}

/// Unwraps, decrypts and seals again with a secret, one position alone; `None` when the bytes differ.
pub fn open_alone(
    key: &CommitteeKey,
    label: &Label,
    sealed: &Ciphertext,
    secret: &[u8; 48],
) -> Option<Opening> {
    try_open(key, label, sealed, secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EphemeralPoint, Seed, dealer};

    #[test]
    fn steps_make_the_whole() {
        let dealt = dealer::deal(4, 3, [9; 32]).unwrap();
        let public = dealt.public().unwrap();
        let (label, seed) = (Label([1; 32]), Seed::from_bytes([2; 32]));
        let sealed = crate::seal(public.key(), &label, &seed, b"hello").unwrap();
        let u = EphemeralPoint::from_bytes(&sealed.u).unwrap();
        let shares = [0, 2, 3].map(|member| (member, [dealt.keys[member].share(&u)]));
        let columns = shares.each_ref().map(|(member, shares)| Column { member: *member, shares });
        let secrets = combine_all(&columns);
        assert_eq!(
            secrets,
            [crate::combine(&shares.map(|(member, [share])| (member, share))).unwrap()]
        );
        let opening = open_alone(public.key(), &label, &sealed, &secrets[0]);
        assert!(matches!(opening, Some(Opening::Opened { message, .. }) if message == b"hello"));
        assert_eq!(open_alone(public.key(), &label, &sealed, &sealed.u), None);
        assert!(combine_all(&[]).is_empty());
    }
}
