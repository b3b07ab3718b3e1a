//! Frozen test vectors for implementations in other languages.
//!
//! `BLINDFOLD_REGENERATE=1 cargo test -p blindfold-crypto vectors` writes them anew: an explicit act,
//! for it means that ciphertexts of before no longer open.

use std::fs;

use serde::{Deserialize, Serialize};

use super::*;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/vectors.json");

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Vectors {
    about: String,
    second_generator: String,
    committee: CommitteeVector,
    sealed: Vec<SealedVector>,
    undecryptable: Vec<UndecryptableVector>,
    invalid: Vec<InvalidVector>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct CommitteeVector {
    threshold: usize,
    y: String,
    y2: String,
    verification_keys: Vec<String>,
    secret_shares: Vec<String>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct CiphertextVector {
    u: String,
    u_bar: String,
    w: String,
    w_bar: String,
    z: String,
    wrapped_seed: String,
    body: String,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct SealedVector {
    label: String,
    seed: String,
    message: String,
    padded_bytes: usize,
    r: String,
    s: String,
    ciphertext: CiphertextVector,
    shares: Vec<String>,
    secret: String,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct UndecryptableVector {
    why: String,
    label: String,
    ciphertext: CiphertextVector,
    secret: String,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct InvalidVector {
    why: String,
    label: String,
    ciphertext: CiphertextVector,
    error: String,
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    format!("0x{}", hex::encode(bytes))
}

fn bytes<const N: usize>(text: &str) -> [u8; N] {
    long_bytes(text).try_into().unwrap()
}

fn long_bytes(text: &str) -> Vec<u8> {
    hex::decode(text.strip_prefix("0x").unwrap()).unwrap()
}

impl From<&Ciphertext> for CiphertextVector {
    fn from(sealed: &Ciphertext) -> Self {
        Self {
            u: hex(sealed.u),
            u_bar: hex(sealed.u_bar),
            w: hex(sealed.w),
            w_bar: hex(sealed.w_bar),
            z: hex(sealed.z),
            wrapped_seed: hex(sealed.wrapped_seed),
            body: hex(&sealed.body),
        }
    }
}

impl CiphertextVector {
    fn decode(&self) -> Ciphertext {
        Ciphertext {
            u: bytes(&self.u),
            u_bar: bytes(&self.u_bar),
            w: bytes(&self.w),
            w_bar: bytes(&self.w_bar),
            z: bytes(&self.z),
            wrapped_seed: bytes(&self.wrapped_seed),
            body: long_bytes(&self.body),
        }
    }
}

fn sealed_vector(i: u64, message: &[u8]) -> SealedVector {
    let (label, seed) = (label(i), seed(i));
    let sealed = seal(FOUR.key(), &label, &seed, message).unwrap();
    let padded = crate::pad::pad(message).unwrap();
    let Scalars { r, s } = Scalars::derive(FOUR.key(), &label, seed.expose(), &padded).unwrap();
    SealedVector {
        label: hex(label.0),
        seed: hex(seed.expose()),
        message: hex(message),
        padded_bytes: padded.len(),
        r: hex(r.to_be_bytes()),
        s: hex(s.to_be_bytes()),
        shares: FOUR.shares(0..4, &sealed).iter().map(|(_, share)| hex(share.0)).collect(),
        secret: hex(FOUR.secret(&sealed)),
        ciphertext: (&sealed).into(),
    }
}

fn undecryptable_vector(why: &str, change: impl FnOnce(&mut Forger)) -> UndecryptableVector {
    let label = label(10);
    let mut forger = Forger::honest(FOUR.key(), &label, &seed(10), b"hello");
    change(&mut forger);
    let sealed = forger.forge(FOUR.key(), &label);
    UndecryptableVector {
        why: why.into(),
        label: hex(label.0),
        secret: hex(FOUR.secret(&sealed)),
        ciphertext: (&sealed).into(),
    }
}

fn invalid_vector(why: &str, change: impl FnOnce(&mut Label, &mut Ciphertext)) -> InvalidVector {
    let (mut label, mut sealed) = sealed(20);
    change(&mut label, &mut sealed);
    InvalidVector {
        why: why.into(),
        label: hex(label.0),
        ciphertext: (&sealed).into(),
        error: verify(FOUR.key(), &label, &sealed).unwrap_err().to_string(),
    }
}

fn generate() -> Vectors {
    let dealt = &FOUR.dealt;
    let patterned: Vec<u8> = (0..1000u32).map(|i| i.to_be_bytes()[3]).collect();
    Vectors {
        about: "Labelled TDH2 over BLS12-381, see docs/crypto.md. Points of G1 and G2 compressed, shares \
                uncompressed, scalars and lengths big-endian; member i stands at x = i + 1."
            .into(),
        second_generator: hex(SECOND_GENERATOR.point().to_compressed()),
        committee: CommitteeVector {
            threshold: dealt.threshold,
            y: hex(dealt.y),
            y2: hex(dealt.y2),
            verification_keys: dealt.verification_keys.iter().map(hex).collect(),
            secret_shares: dealt.keys.iter().map(|key| key.expose(|bytes| hex(bytes))).collect(),
        },
        sealed: vec![
            sealed_vector(0, b""),
            sealed_vector(1, b"hello"),
            sealed_vector(2, &patterned[..252]),
            sealed_vector(3, &patterned[..253]),
            sealed_vector(4, &patterned),
        ],
        undecryptable: vec![
            undecryptable_vector("wrapped seed changed", |forger| forger.wrapped_seed[0] ^= 1),
            undecryptable_vector("body changed", |forger| forger.body[0] ^= 1),
            undecryptable_vector("s not from the seed", |forger| forger.s = scalar(4)),
            undecryptable_vector("w_bar with a component of order three", |forger| {
                forger.offsets[3] = Some(torsion(3));
            }),
        ],
        invalid: vec![
            invalid_vector("another label", |label, _| label.0[31] ^= 1),
            invalid_vector("another wrapped seed", |_, sealed| sealed.wrapped_seed[31] ^= 1),
            invalid_vector("another body", |_, sealed| sealed.body[0] ^= 1),
            invalid_vector("body too short", |_, sealed| sealed.body.truncate(271)),
            invalid_vector("z is the group order", |_, sealed| sealed.z = GROUP_ORDER_BE),
            invalid_vector("u with a component of order three", |_, sealed| {
                sealed.u = plus(&sealed.u, &torsion(3));
            }),
            invalid_vector("u is infinity", |_, sealed| {
                sealed.u = [0; 48];
                sealed.u[0] = 0xc0;
            }),
            invalid_vector("w without its compression flag", |_, sealed| sealed.w[0] &= 0x7f),
            invalid_vector("w_bar from another ciphertext", |_, other| {
                other.w_bar = sealed(21).1.w_bar;
            }),
        ],
    }
}

#[test]
fn vectors_are_frozen() {
    let generated = generate();
    if std::env::var_os("BLINDFOLD_REGENERATE").is_some_and(|value| value == "1") {
        let text = serde_json::to_string_pretty(&generated).unwrap() + "\n";
        fs::write(PATH, text).unwrap();
    }
    let frozen: Vectors = serde_json::from_str(&fs::read_to_string(PATH).unwrap()).unwrap();
    assert_eq!(generated, frozen);
}

/// Reads the file as a foreign implementation would: nothing here comes from the test's own generator.
#[test]
fn vectors_hold_when_read_back() {
    let frozen: Vectors = serde_json::from_str(&fs::read_to_string(PATH).unwrap()).unwrap();
    let vks: Vec<[u8; 96]> =
        frozen.committee.verification_keys.iter().map(|vk| bytes(vk)).collect();
    let (y, y2) = (bytes(&frozen.committee.y), bytes(&frozen.committee.y2));
    let public = CommitteePublic::new(&y, &y2, frozen.committee.threshold, &vks).unwrap();
    let keys: Vec<DecryptionKey> = frozen
        .committee
        .secret_shares
        .iter()
        .map(|key| DecryptionKey::from_bytes(&bytes(key)).unwrap())
        .collect();
    for vector in &frozen.sealed {
        let (label, seed) = (Label(bytes(&vector.label)), bytes(&vector.seed));
        let message = long_bytes(&vector.message);
        let sealed = vector.ciphertext.decode();
        assert_eq!(seal(public.key(), &label, &Seed::from_bytes(seed), &message).unwrap(), sealed);
        assert!(verify(public.key(), &label, &sealed).is_ok());
        let shares: Vec<(usize, Share)> =
            vector.shares.iter().map(|share| Share(bytes(share))).enumerate().collect();
        for (key, (_, share)) in keys.iter().zip(&shares) {
            assert_eq!(key.share(&EphemeralPoint::from_bytes(&sealed.u).unwrap()), *share);
        }
        assert_eq!(combine(&shares[1..]).unwrap(), bytes(&vector.secret));
        let verdict = decide(&public, &label, &sealed, &shares);
        assert_eq!(verdict.opening, Some(Opening::Opened { seed, message }));
    }
    for vector in &frozen.undecryptable {
        let (label, sealed) = (Label(bytes(&vector.label)), vector.ciphertext.decode());
        assert!(verify(public.key(), &label, &sealed).is_ok(), "{}", vector.why);
        let opening = Opening::Undecryptable { secret: bytes(&vector.secret) };
        assert_eq!(check_opening(&public, &label, &sealed, &opening), Ok(()), "{}", vector.why);
    }
    for vector in &frozen.invalid {
        let (label, sealed) = (Label(bytes(&vector.label)), vector.ciphertext.decode());
        let error = verify(public.key(), &label, &sealed).unwrap_err();
        assert_eq!(error.to_string(), vector.error, "{}", vector.why);
    }
}
