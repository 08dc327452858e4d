//! TLS 1.3 with post-quantum keys on both sides, and who passes.
//!
//! One key exchange (X25519MLKEM768), raw public keys (RFC 7250) of ML-DSA-44, suites of 256 bits, no resumption: a
//! resumed session would not pass the verifier, and a member that was sent away would be back. The verifier looks the
//! key up before the signature is checked, so a stranger costs no verification.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::aws_lc_rs::{self, cipher_suite};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::{CertifiedKey, Signer as TlsSigner, SigningKey};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, SignatureAlgorithm,
    SignatureScheme,
};
use selvedge_core::genesis::PublicKey;
use selvedge_core::{Issuer, Scheme};
use selvedge_crypto::Signer;

use super::NetError;
use super::members::{Members, Standing};

/// Between members.
pub const ALPN: &[u8] = b"selvedge/0";
/// Between a member and whoever was invited.
pub const ALPN_JOIN: &[u8] = b"selvedge-join/0";

/// What stands before the key in its `SubjectPublicKeyInfo`: two sequences, the OID 2.16.840.1.101.3.4.3.17
/// (id-ml-dsa-44, RFC 9881, no parameters), and the head of a bit string of 1,312 bytes.
const SPKI_HEAD: [u8; 22] = [
    0x30, 0x82, 0x05, 0x32, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x11,
    0x03, 0x82, 0x05, 0x21, 0x00,
];

/// The `SubjectPublicKeyInfo` of a key; `None` when it is not ML-DSA-44.
pub(super) fn spki_of(key: &PublicKey) -> Option<Vec<u8>> {
    let fits = key.scheme == Scheme::MlDsa44 && key.check().is_ok();
    fits.then(|| [&SPKI_HEAD, key.bytes.as_slice()].concat())
}

/// The key in a `SubjectPublicKeyInfo`; `None` when it is not exactly one of ML-DSA-44.
pub(super) fn key_in(spki: &[u8]) -> Option<PublicKey> {
    let bytes = spki.strip_prefix(&SPKI_HEAD)?.to_vec();
    let key = PublicKey { scheme: Scheme::MlDsa44, bytes };
    key.check().ok()?;
    Some(key)
}

/// Whom the verifier lets pass.
#[derive(Debug, Clone)]
pub(super) enum Pass {
    /// Members, and guests while an invitation is open.
    Members(Members),
    /// Members only; when this one is named, only it.
    Dialled(Members, Option<Issuer>),
    /// Anybody: whoever joins does not know the member's key, and proves the invitation's secret instead.
    Anybody,
}

impl Pass {
    fn check(&self, key: &PublicKey) -> Result<(), Error> {
        let issuer = key.issuer();
        let (members, expected, guests) = match self {
            Self::Members(members) => (members, None, true),
            Self::Dialled(members, expected) => (members, *expected, false),
            Self::Anybody => return Ok(()),
        };
        let standing = match members.standing(&issuer, Instant::now()) {
            Standing::Guest if !guests => Standing::Stranger,
            standing => standing,
        };
        members.count_refused(standing);
        // Each of these becomes another TLS alert: `words::of_alert` reads them on the other side.
        match standing {
            Standing::Stranger => Err(CertificateError::UnknownIssuer.into()),
            Standing::PutOff => Err(CertificateError::ApplicationVerificationFailure.into()),
            Standing::Ourselves => Err(CertificateError::Revoked.into()),
            Standing::Member | Standing::Guest if expected.is_some_and(|e| e != issuer) => {
                Err(CertificateError::NotValidForName.into())
            }
            Standing::Member | Standing::Guest => Ok(()),
        }
    }
}

#[derive(Debug)]
struct RawKeyVerifier {
    pass: Pass,
    algorithms: WebPkiSupportedAlgorithms,
}

impl RawKeyVerifier {
    fn new(pass: Pass) -> Self {
        Self { pass, algorithms: aws_lc_rs::default_provider().signature_verification_algorithms }
    }

    fn check(&self, spki: &CertificateDer<'_>, further: &[CertificateDer<'_>]) -> Result<(), Error> {
        let key = key_in(spki).filter(|_| further.is_empty()).ok_or(CertificateError::BadEncoding)?;
        self.pass.check(&key)
    }

    fn verify(
        &self,
        message: &[u8],
        spki: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if let Pass::Members(members) | Pass::Dialled(members, _) = &self.pass {
            members.count_verified();
        }
        let spki = SubjectPublicKeyInfoDer::from(spki.as_ref());
        verify_tls13_signature_with_raw_key(message, &spki, signature, &self.algorithms)
    }
}

/// Nobody speaks TLS 1.2 here, so nobody gets this far.
fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(PeerIncompatible::Tls12NotOffered.into())
}

impl ServerCertVerifier for RawKeyVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity, intermediates).map(|()| ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        spki: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, spki, signature)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ML_DSA_44]
    }
    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for RawKeyVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity, intermediates).map(|()| ClientCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        spki: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, spki, signature)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ML_DSA_44]
    }
    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// This node's key, as rustls signs with it.
#[derive(Clone)]
struct RawKey {
    signer: Arc<dyn Signer>,
    spki: Vec<u8>,
}

impl SigningKey for RawKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn TlsSigner>> {
        offered.contains(&SignatureScheme::ML_DSA_44).then(|| Box::new(self.clone()) as Box<dyn TlsSigner>)
    }
    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(self.spki.as_slice()))
    }
    fn algorithm(&self) -> SignatureAlgorithm {
        // The registry of TLS 1.2, which has no number for ML-DSA; TLS 1.3 does not ask.
        SignatureAlgorithm::Unknown(0)
    }
}

impl TlsSigner for RawKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.signer.sign(message).map_err(|why| Error::General(why.to_string()))
    }
    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ML_DSA_44
    }
}

impl fmt::Debug for RawKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawKey")
    }
}

/// This node's key, ready for both sides of a handshake.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    key: Arc<CertifiedKey>,
    provider: Arc<CryptoProvider>,
}

impl Identity {
    pub(super) fn new(signer: &Arc<dyn Signer>) -> Result<Self, NetError> {
        let scheme = signer.public_key().scheme;
        let spki = spki_of(signer.public_key()).ok_or(NetError::Key { scheme: scheme.name() })?;
        let raw = RawKey { signer: Arc::clone(signer), spki: spki.clone() };
        let key = Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], Arc::new(raw)));
        Ok(Self { key, provider: Arc::new(provider()) })
    }

    /// For those who dial this node.
    pub(super) fn server(&self, members: &Members) -> Result<quinn::ServerConfig, NetError> {
        let verifier = RawKeyVerifier::new(Pass::Members(members.clone()));
        let resolver = AlwaysResolvesServerRawPublicKeys::new(Arc::clone(&self.key));
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(tls_failed)?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![ALPN.to_vec(), ALPN_JOIN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let config =
            QuicServerConfig::with_initial(Arc::new(config), initial_suite()?).map_err(tls_failed)?;
        Ok(quinn::ServerConfig::with_crypto(Arc::new(config)))
    }

    /// For one dial.
    pub(super) fn client(&self, pass: Pass, alpn: &[u8]) -> Result<quinn::ClientConfig, NetError> {
        let mut config = rustls::ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(tls_failed)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(RawKeyVerifier::new(pass)))
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::clone(
                &self.key,
            ))));
        config.alpn_protocols = vec![alpn.to_vec()];
        config.resumption = Resumption::disabled();
        // The name would tell whoever listens what this is.
        config.enable_sni = false;
        let config =
            QuicClientConfig::with_initial(Arc::new(config), initial_suite()?).map_err(tls_failed)?;
        Ok(quinn::ClientConfig::new(Arc::new(config)))
    }
}

/// aws-lc-rs with one key exchange, and suites of 256 bits in the order that this processor likes.
pub(super) fn provider() -> CryptoProvider {
    let aes = cipher_suite::TLS13_AES_256_GCM_SHA384;
    let chacha = cipher_suite::TLS13_CHACHA20_POLY1305_SHA256;
    CryptoProvider {
        cipher_suites: if has_aes() { vec![aes, chacha] } else { vec![chacha, aes] },
        kx_groups: vec![aws_lc_rs::kx_group::X25519MLKEM768],
        ..aws_lc_rs::default_provider()
    }
}

/// Has the processor instructions for AES? That of a Raspberry Pi 3 or 4 has none.
fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

/// What QUIC hides its first packets with, under a key that everybody knows (RFC 9001, section 5.2).
pub(super) fn initial_suite() -> Result<rustls::quic::Suite, NetError> {
    let suite = cipher_suite::TLS13_AES_128_GCM_SHA256.tls13().and_then(rustls::Tls13CipherSuite::quic_suite);
    suite.ok_or_else(|| tls_failed("no suite for the first packets of QUIC"))
}

fn tls_failed(why: impl fmt::Display) -> NetError {
    NetError::Tls { why: why.to_string() }
}

/// The key that a finished handshake showed.
pub(super) fn key_of(connection: &quinn::Connection) -> Option<PublicKey> {
    let identity = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    key_in(identity.first()?)
}

/// The protocol that a finished handshake agreed on.
pub(super) fn alpn_of(connection: &quinn::Connection) -> Option<Vec<u8>> {
    connection.handshake_data()?.downcast::<quinn::crypto::rustls::HandshakeData>().ok()?.protocol
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use selvedge_crypto::{SecretKey, signer};

    /// A verifier that lets every key pass.
    pub(in crate::net) fn anybody() -> Arc<dyn ServerCertVerifier> {
        Arc::new(RawKeyVerifier::new(Pass::Anybody))
    }

    /// A key as rustls wants it, of any scheme: the head says ML-DSA-44 all the same.
    pub(in crate::net) fn certified(signer: &Arc<dyn Signer>) -> Arc<CertifiedKey> {
        let spki = [&SPKI_HEAD, signer.public_key().bytes.as_slice()].concat();
        let raw = RawKey { signer: Arc::clone(signer), spki: spki.clone() };
        Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], Arc::new(raw)))
    }

    fn key(scheme: Scheme) -> Arc<dyn Signer> {
        signer(&SecretKey::from_seed(scheme, &[5; 32])).expect("a key")
    }

    #[test]
    fn the_head_of_a_key_is_what_rustls_writes() {
        use rustls::pki_types::alg_id;
        let key = key(Scheme::MlDsa44);
        let expected = rustls::sign::public_key_to_spki(&alg_id::ML_DSA_44, &key.public_key().bytes);
        let spki = spki_of(key.public_key()).expect("ML-DSA-44");
        assert_eq!(spki, expected.as_ref());
        assert_eq!(key_in(&spki).as_ref(), Some(key.public_key()));
    }

    #[test]
    fn anything_but_one_whole_key_is_refused() {
        let key = key(Scheme::MlDsa44);
        let spki = spki_of(key.public_key()).expect("ML-DSA-44");
        assert!(key_in(&spki[..spki.len() - 1]).is_none());
        assert!(key_in(&[spki.as_slice(), &[0]].concat()).is_none());
        assert!(key_in(&[]).is_none());
        for at in 0..SPKI_HEAD.len() {
            let mut changed = spki.clone();
            changed[at] ^= 1;
            assert!(key_in(&changed).is_none(), "byte {at}");
        }
        let organisation = self::key(Scheme::MlDsa65);
        assert!(spki_of(organisation.public_key()).is_none());
        assert!(
            Identity::new(&organisation)
                .is_err_and(|why| why.to_string().contains("ML-DSA-65; expected ML-DSA-44"))
        );
    }

    #[test]
    fn one_key_exchange_and_suites_of_256_bits_only() {
        let provider = provider();
        let groups: Vec<_> = provider.kx_groups.iter().map(|group| group.name()).collect();
        assert_eq!(groups, [rustls::NamedGroup::X25519MLKEM768]);
        assert_eq!(provider.cipher_suites.len(), 2);
        assert!(provider.cipher_suites.iter().all(|suite| suite.tls13().is_some()));
    }
}
