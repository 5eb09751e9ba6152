use ostrakon_shards::seal::Sealed;

use super::{Ask, Asking, ConveneError, Convened, Fulfilled, Held, Progress, Room};
use crate::{
    Clock, Home,
    admin::{AskError, Caller, Client},
    home::HeldBy,
    lineage::Lineage,
    offline::Offline,
    server::BuildError,
};

/// A ceremony that a server has opened: the running one, or the one that lies in a home.
pub struct OfServer {
    convened: Convened,
    by: By,
}

enum By {
    Running(Client),
    Stopped(Box<Stopped>),
}

/// A server that does not run, and will not while this lasts.
struct Stopped {
    home: Home,
    clock: Clock,
    offline: Offline,
    lineage: Lineage,
    held: Held,
}

impl OfServer {
    /// Opens a ceremony: by the server that runs on `home` or, where none runs, here.
    ///
    /// # Errors
    /// When there is no server, or its administrators cannot be asked that.
    pub async fn open(home: &Home, clock: &Clock, ask: Ask) -> Result<Self, ConveneError> {
        match Self::open_at(Client::new(home), &ask).await {
            Err(ConveneError::Ask(AskError::NotRunning)) => {
                Self::open_stopped(home, clock, ask).await
            }
            opened => opened,
        }
    }

    /// Opens a ceremony by a server that runs, wherever it is.
    ///
    /// # Errors
    /// When it does not answer, or its administrators cannot be asked that.
    pub async fn open_at(client: Client, ask: &Ask) -> Result<Self, ConveneError> {
        let convened = client.convene(ask).await?;
        Ok(Self {
            convened,
            by: By::Running(client),
        })
    }

    async fn open_stopped(home: &Home, clock: &Clock, ask: Ask) -> Result<Self, ConveneError> {
        let offline = Offline::start_for(home, clock, HeldBy::Ceremony).await?;
        let begun = begin(home, clock, &offline, ask).await;
        match begun {
            Ok((lineage, held, convened)) => Ok(Self {
                convened,
                by: By::Stopped(Box::new(Stopped {
                    home: home.clone(),
                    clock: clock.clone(),
                    offline,
                    lineage,
                    held,
                })),
            }),
            Err(error) => {
                offline.finish().await;
                Err(error)
            }
        }
    }

    /// Has done what was approved. A backup key is handed to `keep` first, and is put on record, and in
    /// force, only when that succeeds.
    ///
    /// # Errors
    /// When it was not approved, cannot be done, or is not kept.
    pub async fn finish<E: From<ConveneError>>(
        self,
        keep: impl FnOnce(&Fulfilled) -> Result<(), E>,
    ) -> Result<Fulfilled, E> {
        match self.by {
            By::Running(client) => {
                let id = self.convened.id;
                let done = client.fulfil(id).await.map_err(ConveneError::from)?;
                if matches!(done, Fulfilled::BackupKey { .. }) {
                    if let Err(error) = keep(&done) {
                        // For the record alone.
                        let _ = client.give_up(id).await;
                        return Err(error);
                    }
                    client.keep(id).await.map_err(ConveneError::from)?;
                }
                Ok(done)
            }
            By::Stopped(stopped) => {
                let Stopped {
                    home,
                    clock,
                    offline,
                    lineage,
                    held,
                } = *stopped;
                let room = room(&home, &clock, &offline, &lineage);
                let done = match room.fulfil(held).await {
                    Ok((done, None)) => Ok(done),
                    Ok((done, Some(made))) => match keep(&done) {
                        Ok(()) => room.keep(made).await.map(|()| done).map_err(E::from),
                        Err(error) => {
                            let _ = room.discard(made).await;
                            Err(error)
                        }
                    },
                    Err(error) => Err(error.into()),
                };
                offline.finish().await;
                done
            }
        }
    }

    /// Gives it up.
    ///
    /// # Errors
    /// When that cannot be recorded.
    pub async fn give_up(self) -> Result<(), ConveneError> {
        match self.by {
            By::Running(client) => Ok(client.give_up(self.convened.id).await?),
            By::Stopped(stopped) => {
                let Stopped {
                    home,
                    clock,
                    offline,
                    lineage,
                    held,
                } = *stopped;
                let done = room(&home, &clock, &offline, &lineage).give_up(&held).await;
                offline.finish().await;
                done
            }
        }
    }
}

impl Asking for OfServer {
    fn convened(&self) -> &Convened {
        &self.convened
    }

    async fn take(&mut self, answers: Vec<Sealed>) -> Result<Progress, ConveneError> {
        match &mut self.by {
            By::Running(client) => Ok(client.take_answers(self.convened.id, answers).await?),
            By::Stopped(stopped) => {
                let Stopped {
                    home,
                    clock,
                    offline,
                    lineage,
                    held,
                } = &mut **stopped;
                let room = room(home, clock, offline, lineage);
                held.take(&room, answers).await
            }
        }
    }

    fn is_served(&self) -> bool {
        matches!(self.by, By::Running(_))
    }
}

async fn begin(
    home: &Home,
    clock: &Clock,
    offline: &Offline,
    ask: Ask,
) -> Result<(Lineage, Held, Convened), ConveneError> {
    let root = *offline.keyserver.root_key();
    let lineage = Lineage::start(home, &offline.store, &offline.signer, root, clock.now()).await;
    let lineage = lineage.map_err(BuildError::from)?;
    let room = room(home, clock, offline, &lineage);
    room.abandon().await?;
    let (held, convened) = room.open(ask, Caller::Operator).await?;
    Ok((lineage, held, convened))
}

fn room<'a>(home: &'a Home, clock: &Clock, offline: &'a Offline, lineage: &'a Lineage) -> Room<'a> {
    Room {
        home,
        node: None,
        store: &offline.store,
        ledger: &offline.ledger,
        signer: &offline.signer,
        keyserver: &offline.keyserver,
        lineage,
        instance: offline.instance,
        now: clock.now(),
    }
}
