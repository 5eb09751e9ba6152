//! A certificate in the forms in which other programs take it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use yasna::{DERWriter, DERWriterSet, Tag, models::ObjectIdentifier};

/// In PEM (RFC 7468).
#[must_use]
pub fn certificate_pem(certificate: &[u8]) -> String {
    let encoded = STANDARD.encode(certificate);
    let mut text = String::from("-----BEGIN CERTIFICATE-----");
    for (at, character) in encoded.chars().enumerate() {
        if at % 64 == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str("\n-----END CERTIFICATE-----\n");
    text
}

/// As the one certificate of a bundle without signers (RFC 5652, `SignedData`; a `.p7b`), in DER.
#[must_use]
pub fn certificate_p7b(certificate: &[u8]) -> Vec<u8> {
    let pkcs7 = |arc| ObjectIdentifier::from_slice(&[1, 2, 840, 113_549, 1, 7, arc]);
    let nothing = |_: &mut DERWriterSet<'_>| ();
    let only = |writer: DERWriter<'_>| {
        writer.write_set(|all| all.next().write_der(certificate));
    };
    yasna::construct_der(|writer| {
        writer.write_sequence(|content| {
            content.next().write_oid(&pkcs7(2));
            content.next().write_tagged(Tag::context(0), |writer| {
                writer.write_sequence(|signed| {
                    signed.next().write_u8(1);
                    signed.next().write_set(nothing);
                    signed
                        .next()
                        .write_sequence(|inner| inner.next().write_oid(&pkcs7(1)));
                    signed.next().write_tagged_implicit(Tag::context(0), only);
                    signed.next().write_set(nothing);
                });
            });
        });
    })
}
