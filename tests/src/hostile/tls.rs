//! The client's side of TLS as a hostile peer wants it: any server will do, and some handshakes are wrong on purpose.
//!
//! Written against rustls alone, not with the pieces of `selvedge::net`: what those refuse to do is to be done here.

use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::sign::{CertifiedKey, Signer as TlsSigner, SigningKey};
use rustls::{DigitallySignedStruct, Error, SignatureAlgorithm, SignatureScheme};
use selvedge_crypto::Signer;

/// What stands before an ML-DSA-44 key in its `SubjectPublicKeyInfo` (RFC 9881).
const SPKI_HEAD: [u8; 22] = [
    0x30, 0x82, 0x05, 0x32, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x11,
    0x03, 0x82, 0x05, 0x21, 0x00,
];

/// How a handshake is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// As a member makes it.
    Right,
    /// With a protocol that nobody speaks.
    WrongProtocol,
    /// With a key exchange that is not post-quantum.
    WrongGroup,
    /// Without any key.
    NoKey,
    /// With somebody's key and a signature of garbage.
    WrongSignature,
}

/// A configuration for one manner of handshake.
pub fn client(signer: &Arc<dyn Signer>, manner: Manner) -> quinn::ClientConfig {
    let is_right = manner != Manner::WrongGroup;
    let group = if is_right { aws_lc_rs::kx_group::X25519MLKEM768 } else { aws_lc_rs::kx_group::X25519 };
    let provider = CryptoProvider { kx_groups: vec![group], ..aws_lc_rs::default_provider() };
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3 with these suites")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody));
    let mut config = if manner == Manner::NoKey {
        builder.with_client_cert_resolver(Arc::new(NoKey))
    } else {
        let garbage = manner == Manner::WrongSignature;
        let spki = [&SPKI_HEAD, signer.public_key().bytes.as_slice()].concat();
        let raw = RawKey { signer: Arc::clone(signer), spki: spki.clone(), garbage };
        let key = CertifiedKey::new(vec![CertificateDer::from(spki)], Arc::new(raw));
        builder.with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::new(key))))
    };
    let protocol: &[u8] = if manner == Manner::WrongProtocol { b"selvedge/99" } else { b"selvedge/0" };
    config.alpn_protocols = vec![protocol.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    let initial = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13();
    let initial = initial.and_then(rustls::Tls13CipherSuite::quic_suite).expect("the suite of first packets");
    let quic = QuicClientConfig::with_initial(Arc::new(config), initial).expect("a suite for first packets");
    quinn::ClientConfig::new(Arc::new(quic))
}

/// Believes anybody.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ML_DSA_44]
    }
    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Shows no key, whatever is asked for.
#[derive(Debug)]
struct NoKey;

impl ResolvesClientCert for NoKey {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }
    fn only_raw_public_keys(&self) -> bool {
        true
    }
    fn has_certs(&self) -> bool {
        false
    }
}

#[derive(Debug, Clone)]
struct RawKey {
    signer: Arc<dyn Signer>,
    spki: Vec<u8>,
    garbage: bool,
}

impl SigningKey for RawKey {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn TlsSigner>> {
        Some(Box::new(self.clone()))
    }
    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(self.spki.as_slice()))
    }
    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::Unknown(0)
    }
}

impl TlsSigner for RawKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let mut signature = self.signer.sign(message).map_err(|why| Error::General(why.to_string()))?;
        if self.garbage {
            for byte in &mut signature {
                *byte ^= 0x5A;
            }
        }
        Ok(signature)
    }
    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ML_DSA_44
    }
}
