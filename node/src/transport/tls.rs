//! Who speaks: TLS 1.3 with raw ed25519 keys (RFC 7250) on both sides.
//!
//! A certificate would carry nothing but the key, so there is none: each side shows its
//! `SubjectPublicKeyInfo`, 44 fixed bytes around the 32 of its identity key, and signs the
//! handshake with it. No X.509 is parsed, nothing expires. The dialer accepts exactly the key it
//! dialed; the listener accepts exactly the keys in its peer table. Sessions are never resumed,
//! so that no ticket outlives a block or a change of the committee.

use std::{fmt, sync::Arc};

use alloy_primitives::{hex, keccak256};
use commonware_codec::{Copying, DecodeExt as _};
use commonware_cryptography::{Signer as _, ed25519};
use quinn::crypto::{CryptoError, HmacKey};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error as TlsError, PeerMisbehaved,
    SignatureScheme,
    client::{
        AlwaysResolvesClientRawPublicKeys, Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls13_signature_with_raw_key},
    pki_types::{
        CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
    },
    server::{
        AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use zeroize::Zeroizing;

use super::{TransportError, config::PROTOCOL_VERSION, peers::Shared};

/// DER in front of the 32 bytes of an ed25519 public key (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = hex!("302a300506032b6570032100");
/// DER in front of the 32 bytes of an ed25519 private key (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] = hex!("302e020100300506032b657004220420");
/// Separates the stateless-reset key from every other use of the seed.
const RESET_DOMAIN: &[u8] = b"blindfold/transport/stateless-reset/v1";
/// The name dialers ask for. It identifies nothing: keys do.
pub(super) const SERVER_NAME: &str = "blindfold";

/// A node's ed25519 identity key.
///
/// # Security
///
/// Holds the 32-byte seed (RFC 8032 private key), zeroized on drop and never printed.
pub struct Identity {
    seed: Zeroizing<[u8; 32]>,
    public: ed25519::PublicKey,
}

impl Identity {
    /// The identity of a 32-byte ed25519 seed.
    ///
    /// # Errors
    ///
    /// [`TransportError::Identity`] if the cryptography library refuses the seed.
    pub fn from_seed(seed: [u8; 32]) -> Result<Self, TransportError> {
        let seed = Zeroizing::new(seed);
        let private = ed25519::PrivateKey::decode(Copying(seed.as_slice()))
            .map_err(|_| TransportError::Identity("not an ed25519 seed"))?;
        Ok(Self { seed, public: private.public_key() })
    }

    /// The public key by which peers know this node.
    pub fn public_key(&self) -> ed25519::PublicKey {
        self.public.clone()
    }

    fn certified_key(&self) -> Result<Arc<CertifiedKey>, TransportError> {
        let mut pkcs8 = Zeroizing::new(PKCS8_PREFIX.to_vec());
        pkcs8.extend_from_slice(self.seed.as_slice());
        let key =
            rustls::crypto::ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8.as_slice()))
                .map_err(|_| TransportError::Identity("refused by the TLS library"))?;
        let spki = spki(&self.public);
        if key.public_key().as_ref().map(|shown| shown.as_ref()) != Some(spki.as_slice()) {
            return Err(TransportError::Identity("TLS library derives another public key"));
        }
        Ok(Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], key)))
    }

    /// Key of stateless resets. Derived from the seed, so that a restarted node can tell its
    /// peers at once that their old connections are gone.
    pub(super) fn reset_key(&self) -> Arc<dyn HmacKey> {
        let preimage = Zeroizing::new([RESET_DOMAIN, self.seed.as_slice()].concat());
        Arc::new(ResetKey(Zeroizing::new(keccak256(preimage.as_slice()).0)))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.public)
    }
}

/// Keccak-256 keyed by prefix. A sponge needs no HMAC construction around it.
struct ResetKey(Zeroizing<[u8; 32]>);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        let preimage = Zeroizing::new([self.0.as_slice(), data].concat());
        let tag = keccak256(preimage.as_slice());
        let len = signature_out.len().min(tag.len());
        signature_out[..len].copy_from_slice(&tag[..len]);
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let mut expected = [0u8; 32];
        self.sign(data, &mut expected);
        // Resets are compared by quinn itself; this completes the trait. Constant time.
        let same_len = signature.len() == expected.len();
        let difference =
            expected.iter().zip(signature).fold(u8::from(!same_len), |acc, (a, b)| acc | (a ^ b));
        if difference == 0 { Ok(()) } else { Err(CryptoError) }
    }
}

/// The ALPN identifier: `blindfold/<version>/<genesis hash in hex>`.
pub(super) fn alpn(genesis_hash: &[u8; 32]) -> Vec<u8> {
    format!("blindfold/{PROTOCOL_VERSION}/{}", hex::encode(genesis_hash)).into_bytes()
}

fn spki(key: &ed25519::PublicKey) -> Vec<u8> {
    [SPKI_PREFIX.as_slice(), key.as_ref()].concat()
}

/// The key inside a `SubjectPublicKeyInfo`, if it is ed25519 in the one valid encoding.
fn key_of_spki(spki: &[u8]) -> Option<ed25519::PublicKey> {
    ed25519::PublicKey::decode(Copying(spki.strip_prefix(&SPKI_PREFIX)?)).ok()
}

/// The key a finished handshake has proven.
pub(super) fn peer_key(connection: &quinn::Connection) -> Option<ed25519::PublicKey> {
    let shown = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    key_of_spki(shown.first()?.as_ref())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn check_shown(
    shown: &CertificateDer<'_>,
    more: &[CertificateDer<'_>],
    accept: impl FnOnce(&ed25519::PublicKey) -> bool,
) -> Result<(), TlsError> {
    if !more.is_empty() {
        return Err(CertificateError::BadEncoding.into());
    }
    let key = key_of_spki(shown.as_ref()).ok_or(CertificateError::BadEncoding)?;
    if !accept(&key) {
        return Err(CertificateError::ApplicationVerificationFailure.into());
    }
    Ok(())
}

fn check_signature(
    message: &[u8],
    shown: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    provider: &CryptoProvider,
) -> Result<HandshakeSignatureValid, TlsError> {
    if signed.scheme != SignatureScheme::ED25519 {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    }
    verify_tls13_signature_with_raw_key(
        message,
        &SubjectPublicKeyInfoDer::from(shown.as_ref()),
        signed,
        &provider.signature_verification_algorithms,
    )
}

fn no_tls12() -> TlsError {
    TlsError::PeerIncompatible(rustls::PeerIncompatible::ServerDoesNotSupportTls12Or13)
}

/// Accepts the one key that was dialed.
struct Dialed {
    expected: ed25519::PublicKey,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Dialed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dialed({})", self.expected)
    }
}

impl ServerCertVerifier for Dialed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        check_shown(end_entity, intermediates, |key| *key == self.expected)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        check_signature(message, cert, dss, &self.provider)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Accepts the keys that the peer table has, or has room for, at this moment.
struct Listener {
    peers: Arc<Shared>,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

impl ClientCertVerifier for Listener {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        check_shown(end_entity, intermediates, |key| self.peers.welcomes(key))?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        check_signature(message, cert, dss, &self.provider)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// TLS of the listening side: asks for a key and accepts those of `peers`.
pub(super) fn server_crypto(
    identity: &Identity,
    genesis_hash: &[u8; 32],
    peers: Arc<Shared>,
) -> Result<quinn::crypto::rustls::QuicServerConfig, TransportError> {
    let provider = provider();
    let mut tls = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(Listener { peers, provider }))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(
            identity.certified_key()?,
        )));
    tls.alpn_protocols = vec![alpn(genesis_hash)];
    tls.session_storage = Arc::new(NoServerSessionStorage {});
    tls.send_tls13_tickets = 0;
    tls.max_early_data_size = 0;
    quinn::crypto::rustls::QuicServerConfig::try_from(tls)
        .map_err(|_| TransportError::Identity("no cipher suite for QUIC"))
}

/// TLS of the dialing side: accepts `expected` only.
pub(super) fn client_crypto(
    identity: &Identity,
    genesis_hash: &[u8; 32],
    expected: ed25519::PublicKey,
) -> Result<quinn::crypto::rustls::QuicClientConfig, TransportError> {
    let provider = provider();
    let mut tls = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Dialed { expected, provider }))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(
            identity.certified_key()?,
        )));
    tls.alpn_protocols = vec![alpn(genesis_hash)];
    tls.resumption = Resumption::disabled();
    tls.enable_early_data = false;
    quinn::crypto::rustls::QuicClientConfig::try_from(tls)
        .map_err(|_| TransportError::Identity("no cipher suite for QUIC"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spki_has_one_encoding() {
        let key = Identity::from_seed([7; 32]).expect("seed").public_key();
        let der = spki(&key);
        assert_eq!(der.len(), 44);
        assert_eq!(key_of_spki(&der), Some(key));
        assert_eq!(key_of_spki(&der[..43]), None);
        assert_eq!(key_of_spki(&[der.as_slice(), &[0]].concat()), None);
        let mut other_algorithm = der.clone();
        other_algorithm[8] ^= 1;
        assert_eq!(key_of_spki(&other_algorithm), None);
    }

    #[test]
    fn identity_is_redacted_and_agrees_with_the_tls_library() {
        let identity = Identity::from_seed([7; 32]).expect("seed");
        assert!(!format!("{identity:?}").contains("070707"));
        assert!(identity.certified_key().is_ok());
    }

    #[test]
    fn alpn_binds_the_chain() {
        assert_ne!(alpn(&[1; 32]), alpn(&[2; 32]));
        assert!(alpn(&[1; 32]).len() <= 255);
    }

    #[test]
    fn reset_key_survives_a_restart_and_verifies_only_its_own() {
        let tag = |seed: u8| {
            let mut out = [0; 32];
            Identity::from_seed([seed; 32]).expect("seed").reset_key().sign(b"cid", &mut out);
            out
        };
        assert_eq!(tag(1), tag(1));
        assert_ne!(tag(1), tag(2));
        let key = Identity::from_seed([1; 32]).expect("seed").reset_key();
        assert!(key.verify(b"cid", &tag(1)).is_ok());
        assert!(key.verify(b"cid", &tag(2)).is_err());
        assert!(key.verify(b"cid", &tag(1)[..16]).is_err());
    }
}
