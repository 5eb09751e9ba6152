//! Asking for one thing, as a member of a profile.

use ostrakon_shards::random;
use ostrakon_transport::message::{Item, ItemAnswer, RequestBody};
use ostrakon_types::RequestId;

use super::{AskError, Expect, Link};
use crate::workstation::{Member, Workstation};

impl Workstation {
    /// Asks for one item. There is no answer where the server gave none.
    pub(crate) async fn ask_item(
        &self,
        member: &Member,
        link: &Link,
        item: Item,
        expect: Expect,
    ) -> Result<Option<ItemAnswer>, AskError> {
        let id = random::request_id(self.environment.now())?;
        self.ask_item_as(member, link, id, item, expect).await
    }

    /// The same under an id that was drawn before, so that a repeated request is known to be one.
    pub(crate) async fn ask_item_as(
        &self,
        member: &Member,
        link: &Link,
        id: RequestId,
        item: Item,
        expect: Expect,
    ) -> Result<Option<ItemAnswer>, AskError> {
        let (environment, profile) = (&self.environment, member.profile.id());
        let body = RequestBody::new(id, environment.now(), profile, vec![item])?;
        let answers = link.ask(&member.keys, &member.device, body, expect, environment);
        Ok(answers.await?.into_iter().next())
    }
}
