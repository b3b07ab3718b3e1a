//! The test dealer and the secrets files.

use blindfold_wire::{Genesis, vote_key_pop_verify, vote_public_key};

use super::*;
use crate::{MemberSecrets, SecretsError, deal_committee, setup::identity_public_key};

#[test]
fn dealt_committees_make_valid_genesis_documents() {
    for members in [1usize, 2, 4, 7] {
        let stakes: Vec<u64> = (1..=members as u64).collect();
        let dealt = deal_committee(&stakes, [9; 32]).unwrap();
        let genesis = Genesis { committee: dealt.info.clone(), ..COMMITTEE.genesis.clone() };
        genesis.validate().unwrap();
        assert_eq!(
            dealt.info.members.iter().map(|member| member.stake).collect::<Vec<_>>(),
            stakes
        );
        assert_eq!(dealt.secrets.len(), members);
        for (index, (secrets, info)) in dealt.secrets.iter().zip(&dealt.info.members).enumerate() {
            assert_eq!(secrets.member() as usize, index);
            assert_eq!(secrets.expose_identity(identity_public_key), info.identity);
            assert_eq!(secrets.expose_vote(vote_public_key).unwrap(), info.vote_key);
            vote_key_pop_verify(&info.vote_key, &info.vote_key_pop).unwrap();
            assert_eq!(secrets.signing_key().unwrap().address(), info.signer);
            assert_eq!(secrets.decryption_key().unwrap().verification_key(), info.verification_key);
        }
    }
    assert!(deal_committee(&[], [9; 32]).is_err());
}

#[test]
fn dealing_follows_from_the_seed() {
    let [first, again, other] =
        [[1; 32], [1; 32], [2; 32]].map(|seed| deal_committee(&[1; 4], seed).unwrap());
    assert_eq!(first.info, again.info);
    assert_eq!(*first.secrets[3].to_text(), *again.secrets[3].to_text());
    assert_ne!(first.info.y, other.info.y);
    assert_ne!(first.info.members[0].identity, other.info.members[0].identity);
}

#[test]
fn secrets_survive_their_text() {
    let dealt = deal_committee(&[1; 4], [3; 32]).unwrap();
    for secrets in &dealt.secrets {
        let text = secrets.to_text();
        let read = MemberSecrets::from_text(&text).unwrap();
        assert_eq!(*read.to_text(), *text);
        assert_eq!(read.member(), secrets.member());
        let commented = format!("# keep this file private\n\n{}\n", *text);
        assert_eq!(*MemberSecrets::from_text(&commented).unwrap().to_text(), *text);
    }
}

#[test]
fn malformed_secrets_are_refused_without_showing_them() {
    let secrets = deal_committee(&[1], [3; 32]).unwrap().secrets.remove(0);
    let text = secrets.to_text();
    let hex_of = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split(" = ").nth(1).unwrap().to_owned()
    };
    let (signer, decryption) = (hex_of("signer"), hex_of("decryption"));
    for (from, to, expected) in [
        ("secrets = 1", "secrets = 2", SecretsError::Version),
        ("member = 0", "member = -1", SecretsError::Line { name: "member" }),
        ("member = 0", "member = 4294967296", SecretsError::Line { name: "member" }),
        ("vote", "note", SecretsError::Line { name: "vote" }),
        (&signer[..], "00", SecretsError::Line { name: "signer" }),
        (&signer[..], &"00".repeat(32), SecretsError::Range { name: "signer" }),
        (&decryption[..], &"ff".repeat(32), SecretsError::Range { name: "decryption" }),
    ] {
        let damaged = text.replacen(from, to, 1);
        assert_ne!(damaged, *text, "{from}");
        let error = MemberSecrets::from_text(&damaged).unwrap_err();
        assert_eq!(error, expected);
        assert!(!format!("{error} {error:?}").contains(&signer[..8]));
    }
    assert_eq!(
        MemberSecrets::from_text(&format!("{}x = 1", *text)).unwrap_err(),
        SecretsError::Trailing
    );
    assert_eq!(MemberSecrets::from_text("").unwrap_err(), SecretsError::Version);
    for line in 0..6 {
        let without: Vec<_> =
            text.lines().enumerate().filter(|(at, _)| *at != line).map(|(_, l)| l).collect();
        assert!(MemberSecrets::from_text(&without.join("\n")).is_err(), "without line {line}");
    }
    let shown = format!("{secrets:?}");
    assert_eq!(shown, "MemberSecrets { member: 0, .. }");
}
