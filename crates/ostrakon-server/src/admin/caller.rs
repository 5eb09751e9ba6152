//! Who asks, and whether that is enough.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
};
use ostrakon_transport::http::PeerCertificate;
use ostrakon_types::{CertificateId, ErrorChain};

use super::{Fault, FaultKind};
use crate::{
    audit::Reason,
    authority::{Authority, NotAdmitted, Purpose},
    node::Node,
};

/// Who asks a running server for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Whoever can open the administration socket.
    Operator,
    /// Who has the certificate with this id.
    Administrator(CertificateId),
}

impl Caller {
    /// The certificate, where there is one.
    pub(crate) fn certificate(self) -> Option<CertificateId> {
        match self {
            Self::Operator => None,
            Self::Administrator(id) => Some(id),
        }
    }

    /// Who it is, for the record; the operator goes without saying.
    pub(crate) fn by(self) -> Option<String> {
        let id = self.certificate()?;
        Some(format!("by administrator's certificate {id}"))
    }

    /// What this caller is told where it must ask the administrators' devices first.
    pub(super) fn must_ask(self, node: &Node) -> Option<Response> {
        let error = match self {
            Self::Operator if !node.admin_quorum => return None,
            Self::Operator => {
                "`admin_quorum` is set: the administrators' devices must approve this"
            }
            Self::Administrator(_) => "from afar, the administrators' devices must approve this",
        };
        let fault = Fault {
            error: error.to_owned(),
            kind: FaultKind::NeedsApproval,
        };
        Some((StatusCode::FORBIDDEN, axum::Json(fault)).into_response())
    }
}

/// Looks up whose certificate it is, for each request anew.
pub(super) async fn authenticate(
    State(node): State<Arc<Node>>,
    mut request: Request,
    next: Next,
) -> Response {
    let pipeline = &node.pipeline;
    let shown = request.extensions().get::<PeerCertificate>().cloned();
    let admitted = match shown {
        Some(shown) => {
            let (store, now) = (&pipeline.store, pipeline.clock.now());
            Authority::admit(store, &shown.0, Purpose::Administrator, now).await
        }
        None => Err(NotAdmitted::Unknown),
    };
    let (status, error, reason) = match admitted {
        Ok(id) => {
            request.extensions_mut().insert(Caller::Administrator(id));
            return next.run(request).await;
        }
        Err(NotAdmitted::Store(error)) => {
            tracing::error!(error = %ErrorChain(&error), "a certificate cannot be looked up");
            let said = "the certificate cannot be looked up now";
            (StatusCode::SERVICE_UNAVAILABLE, said, Reason::Unavailable)
        }
        Err(why) => {
            let said = "this certificate is not heard here, or not any more";
            (StatusCode::FORBIDDEN, said, Reason::of_certificate(&why))
        }
    };
    node.tallies().count(reason);
    let fault = Fault {
        error: error.to_owned(),
        kind: FaultKind::Other,
    };
    (status, axum::Json(fault)).into_response()
}
