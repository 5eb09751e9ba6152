//! What a guest says to its host, over HTTP.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use hyper::{
    Method, Request, StatusCode, Uri,
    header::{CONTENT_TYPE, HeaderValue},
};
use minicbor::Encode;
use ostrakon_shards::{card::Card, device::DeviceKeys, name::Name, pairing::Pairing};
use ostrakon_transport::http::HttpClient;
use ostrakon_types::{UnixMillis, canonical};
use tokio::time::sleep;

use super::{
    JoinError,
    wire::{Call, PAIRING_PATH, PAIRING_TYPE, Reply},
};
use crate::{ask::quick_http, config::Config};

/// How often it is asked for a letter.
const POLL: Duration = Duration::from_millis(300);

/// The other side, at its address.
pub(super) struct Host(HttpClient);

impl Host {
    pub(super) fn new(config: &Config, address: SocketAddr) -> Result<Self, JoinError> {
        let url = format!("http://{address}").parse();
        let url = url.map_err(|_| JoinError::BadReply)?;
        Ok(Self(quick_http(config, vec![url])?))
    }

    pub(super) async fn greet(&self) -> Result<(Card, Option<Name>), JoinError> {
        match self.call(&Call::Greeting).await? {
            Reply::Greeting { card, name } => Ok((card, name)),
            _ => Err(JoinError::BadReply),
        }
    }

    pub(super) async fn call(&self, call: &Call) -> Result<Reply, JoinError> {
        let mut request = Request::new(Bytes::from(canonical::encode(call)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static(PAIRING_PATH);
        let kind = HeaderValue::from_static(PAIRING_TYPE);
        request.headers_mut().insert(CONTENT_TYPE, kind);
        let response = self.0.send(&request).await.map_err(Box::new)?;
        if response.status() != StatusCode::OK {
            return Err(JoinError::Status(response.status()));
        }
        Ok(canonical::decode(response.body())?)
    }

    pub(super) async fn send<T: Encode<()>>(
        &self,
        pairing: &Pairing,
        keys: &DeviceKeys,
        number: u32,
        letter: &T,
    ) -> Result<(), JoinError> {
        let letter = pairing.seal(keys, number, &canonical::encode(letter))?;
        self.call(&Call::Letter { number, letter }).await?.taken()
    }

    /// Waits for the host's letter `number`.
    pub(super) async fn fetch(
        &self,
        pairing: &Pairing,
        keys: &DeviceKeys,
        number: u32,
        until: UnixMillis,
        clock: fn() -> UnixMillis,
    ) -> Result<Vec<u8>, JoinError> {
        loop {
            match self.call(&Call::Fetch(number)).await? {
                Reply::Letter(letter) => return Ok(pairing.open(keys, number, &letter)?),
                Reply::Wait if clock() < until => sleep(POLL).await,
                Reply::Wait => return Err(JoinError::Late),
                _ => return Err(JoinError::Refused),
            }
        }
    }
}

impl Reply {
    pub(super) fn taken(self) -> Result<(), JoinError> {
        match self {
            Self::Taken => Ok(()),
            _ => Err(JoinError::Refused),
        }
    }
}
