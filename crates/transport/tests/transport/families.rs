//! Which authority may vouch for which role.

use bailiwick_transport::{AuthorityFamily, ConnectError, ServerOptions, TlsError, TlsIdentity};
use bailiwick_types::PeerRole;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::support::{Authority, Claims, DOMAIN, EDGE, Issued, Rig, VAULT, load, name};

fn chain(issued: &Issued) -> Vec<CertificateDer<'static>> {
    let chain = CertificateDer::pem_file_iter(&issued.files.certificate).expect("reads");
    chain.collect::<Result<_, _>>().expect("parses")
}

/// Authorities of a family vouch for its roles and for no other, and nobody else vouches for these.
#[tokio::test]
async fn an_authority_vouches_for_the_roles_of_its_family_only() {
    const APPROVER: &str = "spiffe://bailiwick.example/approver-workflow/workflow-1";
    let (provider, committee) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().expect("directory");
    let family = folder.path().join("workflow.pem");
    std::fs::write(&family, committee.pem()).expect("written");
    let mut server = provider.issue(&Claims::of(VAULT));
    server.files.families = vec![AuthorityFamily {
        roles: vec![PeerRole::ApproverWorkflow],
        authorities: family.clone(),
    }];
    let server = load(&server);
    let verified = |authority: &Authority, uri: &str| {
        let issued = authority.issue(&Claims::of(uri));
        server.verify_client(&chain(&issued)).map(|who| who.role)
    };
    assert_eq!(
        verified(&committee, APPROVER).expect("its own role"),
        PeerRole::ApproverWorkflow
    );
    assert_eq!(
        verified(&provider, EDGE).expect("a role without a family"),
        PeerRole::Edge
    );
    // The two authorities have the same name, so it is the signature that does not fit.
    let unknown = |error: &rustls::Error| {
        matches!(
            error,
            rustls::Error::InvalidCertificate(
                rustls::CertificateError::UnknownIssuer | rustls::CertificateError::BadSignature
            )
        )
    };
    for (authority, uri, what) in [
        (&provider, APPROVER, "the provider makes no approvers"),
        (&committee, EDGE, "a committee makes no edges"),
        (&committee, VAULT, "a committee makes no vault nodes"),
    ] {
        let error = verified(authority, uri).expect_err(what);
        assert!(unknown(&error), "{what}: {error}");
    }
    // As a client, in a handshake: a vault node that a committee made is not believed.
    let mut client = provider.issue(&Claims::of(EDGE));
    client.files.families = vec![AuthorityFamily {
        roles: vec![PeerRole::Vault],
        authorities: family,
    }];
    let tls = provider.tls(VAULT);
    let control = provider.tls(EDGE);
    let rig = Rig::with(provider, tls, ServerOptions::default()).await;
    rig.dial(&control).await.expect("the control connects");
    let refused = rig.dial(&load(&client)).await;
    assert!(
        matches!(refused, Err(ConnectError::Handshake { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_family_without_roles_is_refused() {
    let mut issued = Authority::new().issue(&Claims::of(EDGE));
    issued.files.families = vec![AuthorityFamily {
        roles: Vec::new(),
        authorities: issued.files.authorities.clone(),
    }];
    let refused = TlsIdentity::load(issued.files.clone(), name(DOMAIN));
    assert!(
        matches!(refused, Err(TlsError::NoRoles { .. })),
        "{refused:?}"
    );
}
