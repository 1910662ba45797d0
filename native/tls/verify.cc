#include <openssl/x509.h>
#include <openssl/x509_vfy.h>

#include "tls/session.h"

namespace uvio::tls {

// The names that Node knows, and none more: others are UNSPECIFIED there, too.
const char* VerifyCodeName(long code) {
#define UVIO_NAME(name) \
  case X509_V_ERR_##name: \
    return #name;
  switch (code) {
    UVIO_NAME(UNABLE_TO_GET_ISSUER_CERT)
    UVIO_NAME(UNABLE_TO_GET_CRL)
    UVIO_NAME(UNABLE_TO_DECRYPT_CERT_SIGNATURE)
    UVIO_NAME(UNABLE_TO_DECRYPT_CRL_SIGNATURE)
    UVIO_NAME(UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY)
    UVIO_NAME(CERT_SIGNATURE_FAILURE)
    UVIO_NAME(CRL_SIGNATURE_FAILURE)
    UVIO_NAME(CERT_NOT_YET_VALID)
    UVIO_NAME(CERT_HAS_EXPIRED)
    UVIO_NAME(CRL_NOT_YET_VALID)
    UVIO_NAME(CRL_HAS_EXPIRED)
    UVIO_NAME(ERROR_IN_CERT_NOT_BEFORE_FIELD)
    UVIO_NAME(ERROR_IN_CERT_NOT_AFTER_FIELD)
    UVIO_NAME(ERROR_IN_CRL_LAST_UPDATE_FIELD)
    UVIO_NAME(ERROR_IN_CRL_NEXT_UPDATE_FIELD)
    UVIO_NAME(OUT_OF_MEM)
    UVIO_NAME(DEPTH_ZERO_SELF_SIGNED_CERT)
    UVIO_NAME(SELF_SIGNED_CERT_IN_CHAIN)
    UVIO_NAME(UNABLE_TO_GET_ISSUER_CERT_LOCALLY)
    UVIO_NAME(UNABLE_TO_VERIFY_LEAF_SIGNATURE)
    UVIO_NAME(CERT_CHAIN_TOO_LONG)
    UVIO_NAME(CERT_REVOKED)
    UVIO_NAME(INVALID_CA)
    UVIO_NAME(PATH_LENGTH_EXCEEDED)
    UVIO_NAME(INVALID_PURPOSE)
    UVIO_NAME(CERT_UNTRUSTED)
    UVIO_NAME(CERT_REJECTED)
    UVIO_NAME(HOSTNAME_MISMATCH)
    default:
      return "UNSPECIFIED";
  }
#undef UVIO_NAME
}

long VerifyResult(const SSL* ssl) {
  if (SSL_get0_peer_certificate(ssl) != nullptr) return SSL_get_verify_result(ssl);
  const SSL_CIPHER* cipher = SSL_get_current_cipher(ssl);
  const SSL_SESSION* session = SSL_get_session(ssl);
  const bool by_key = cipher != nullptr && SSL_CIPHER_get_auth_nid(cipher) == NID_auth_psk;
  const bool resumed = session != nullptr &&
                       SSL_SESSION_get_protocol_version(session) == TLS1_3_VERSION &&
                       SSL_session_reused(ssl) != 0;
  return by_key || resumed ? X509_V_OK : X509_V_ERR_UNSPECIFIED;
}

}  // namespace uvio::tls
