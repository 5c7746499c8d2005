//! The certificate that TURN over TLS shows.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Why a certificate cannot be shown.
#[derive(Debug)]
pub enum TlsError {
    /// No certificate in PEM is in the text.
    NoCertificate,
    /// No private key in PEM is.
    NoKey,
    /// The two do not go together, or are of a kind that is not spoken.
    Unusable(rustls::Error),
}

/// What connections are answered with: the certificate, its chain and its key, all in PEM.
pub fn tls_config(certificate: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>, TlsError> {
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(certificate).collect::<Result<_, _>>().map_err(|_| TlsError::NoCertificate)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::NoKey)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(TlsError::Unusable)?;
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_without_certificate_or_key_is_refused() {
        assert!(matches!(tls_config(b"", b""), Err(TlsError::NoCertificate)));
        let certificate = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(tls_config(certificate, b"x"), Err(TlsError::NoKey)));
    }
}
