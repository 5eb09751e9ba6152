//! The audit log, as it is read through a running server.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use ostrakon_storage::StoreError;
use ostrakon_types::canonical;
use serde::{Deserialize, Serialize};

use super::{AskError, Client, fault};
use crate::{
    audit::{AuditEntry, AuditReader, AuditRecord, Place},
    node::Node,
    server::BuildError,
};

/// The most records in one answer: what they say can be long.
const MOST: u64 = 500;

/// What is to be read.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Read {
    /// So many of the newest.
    Newest(u64),
    /// What came behind these places.
    Behind(Vec<Place>),
}

/// Records, and up to where each chain was read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Page {
    entries: Vec<Entry>,
    read: Vec<Place>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    instance: String,
    sequence: u64,
    record: Vec<u8>,
}

pub(super) async fn read(State(node): State<Arc<Node>>, Json(asked): Json<Read>) -> Response {
    match page(&node, asked).await {
        Ok(page) => Json(page).into_response(),
        Err(error) => fault(&error),
    }
}

async fn page(node: &Node, asked: Read) -> Result<Page, BuildError> {
    let store = Arc::clone(&node.pipeline.store);
    let keyserver = node.pipeline.keyserver.clone();
    let mut reader = AuditReader::new(store, keyserver, node.instance).await?;
    let entries = match asked {
        Read::Newest(count) => reader.newest(count.min(MOST)).await?,
        Read::Behind(places) => {
            reader.go_back_to(&places);
            reader.newer().await?
        }
    };
    let entry = |entry: AuditEntry| Entry {
        record: canonical::encode(&entry.record),
        instance: entry.instance,
        sequence: entry.sequence,
    };
    Ok(Page {
        entries: entries.into_iter().map(entry).collect(),
        read: reader.places().collect(),
    })
}

/// Reads the audit log of a running server.
#[derive(Debug)]
pub struct AuditFeed<'c> {
    client: &'c Client,
    read: Vec<Place>,
}

impl<'c> AuditFeed<'c> {
    pub(super) fn new(client: &'c Client) -> Self {
        let read = Vec::new();
        Self { client, read }
    }

    /// The newest `count` records of all chains, in order; 500 at most.
    ///
    /// # Errors
    /// When the server does not answer, or its log cannot be read.
    pub async fn newest(&mut self, count: u64) -> Result<Vec<AuditEntry>, AskError> {
        self.ask(&Read::Newest(count)).await
    }

    /// The records that were written since the last call.
    ///
    /// # Errors
    /// When the server does not answer, or its log cannot be read.
    pub async fn newer(&mut self) -> Result<Vec<AuditEntry>, AskError> {
        self.ask(&Read::Behind(self.read.clone())).await
    }

    async fn ask(&mut self, asked: &Read) -> Result<Vec<AuditEntry>, AskError> {
        let page: Page = self.client.read_audit(asked).await?;
        self.read = page.read;
        let entry = |entry: Entry| {
            let record: AuditRecord = canonical::decode(&entry.record).map_err(|_| {
                AskError::Log(StoreError::Corrupt {
                    table: "audit",
                    column: "sealed",
                })
            })?;
            Ok(AuditEntry {
                instance: entry.instance,
                sequence: entry.sequence,
                record,
            })
        };
        page.entries.into_iter().map(entry).collect()
    }
}
