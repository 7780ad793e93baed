//! TLS for the loopback address, with keys that are published here and so are worth nothing.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Whose certificates are to be trusted by the clients of a test.
pub(crate) const AUTHORITY: &str = include_str!("keys/worthless-authority.cert.pem");
pub(crate) const CERTIFICATE: &str = include_str!("keys/worthless-loopback.cert.pem");
pub(crate) const KEY: &str = include_str!("keys/worthless-loopback.key.pem");

pub(super) fn config() -> Arc<ServerConfig> {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).expect("the certificate is PEM");
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).expect("the key is PEM");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring knows today's versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("the key belongs to the certificate");
    Arc::new(config)
}

/// The connection once its first bytes are decrypted; the handshake goes along with reading and writing.
pub(super) fn accept<'a>(
    stream: &'a TcpStream,
    config: &Arc<ServerConfig>,
) -> Option<StreamOwned<ServerConnection, &'a TcpStream>> {
    Some(StreamOwned::new(ServerConnection::new(Arc::clone(config)).ok()?, stream))
}

pub(super) fn close(mut stream: StreamOwned<ServerConnection, &TcpStream>) {
    stream.conn.send_close_notify();
    let _ = stream.flush();
}
