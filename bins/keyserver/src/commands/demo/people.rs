//! An administrator's devices: five of them, three of which decide.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use ostrakon_client::{
    BaseUrl, Config, ConfigFile, Environment, Workstation,
    people::{
        ApproveOptions, Card, ChangeOptions, DeviceKind, Digits, GuestOptions, HostOptions,
        Invitation, Method, Name, News, Person, Relay, RelayedCeremony, SignedVersion,
    },
};
use ostrakon_server::ceremony::{Asking, Stand};
use tokio::{sync::mpsc, time::sleep};

use super::stage::{failed, now};
use crate::{commands::ceremony::not_approved, error::Failure};

/// How often a phone looks for what waits.
const LOOK: Duration = Duration::from_millis(300);

/// How long devices are waited for, in milliseconds.
pub(super) const WAIT_MS: i64 = 60_000;

/// The administrator's devices.
pub(super) struct Administrator {
    desk: Workstation,
    phone: Workstation,
    tablet: Workstation,
}

/// Passes invitations on to whoever plays the other device.
struct Screen(mpsc::UnboundedSender<String>);

impl Person for Screen {
    fn hear(&mut self, news: &News<'_>) {
        if let News::Invitation(uri) = news {
            let _ = self.0.send((*uri).to_owned());
        }
    }

    fn compare(&mut self, _: Digits, _: &Card) -> Box<dyn FnOnce() -> bool + Send> {
        // Nobody types a code here.
        Box::new(|| false)
    }
}

impl Administrator {
    /// Makes a profile of a workstation, two phones and two sets of recovery words, with threshold 3.
    pub(super) async fn assemble(folder: &Path) -> Result<Self, Failure> {
        let mut all = Self {
            desk: open(folder, "desk")?,
            phone: open(folder, "phone")?,
            tablet: open(folder, "tablet")?,
        };
        all.desk.create_profile(None).map_err(failed)?;
        add(&mut all.desk, &mut all.phone, None, "phone").await?;
        add(
            &mut all.desk,
            &mut all.tablet,
            Some(&mut all.phone),
            "tablet",
        )
        .await?;
        for _ in 0..2 {
            let (mut screen, _heard) = screen();
            let options = options(false);
            let words = async {
                let added = all.desk.add_words(&options, &mut screen).await;
                added.map(drop).map_err(failed)
            };
            tokio::try_join!(words, approve(&mut all.phone))?;
        }
        all.set_threshold(3, false).await?;
        Ok(all)
    }

    /// Changes the threshold: the phone approves, and the tablet where it is asked, too.
    pub(super) async fn set_threshold(&mut self, needed: u8, both: bool) -> Result<(), Failure> {
        let (mut screen, _heard) = screen();
        let options = options(false);
        let (desk, tablet) = (&mut self.desk, &mut self.tablet);
        let change = async {
            let changed = desk.set_threshold(needed, &options, &mut screen).await;
            changed.map_err(failed)
        };
        let second = async { if both { approve(tablet).await } else { Ok(()) } };
        tokio::try_join!(change, approve(&mut self.phone), second)?;
        Ok(())
    }

    /// The versions of the profile.
    pub(super) fn profile(&self) -> Vec<SignedVersion> {
        let view = self.desk.profile();
        view.map_or_else(Vec::new, |view| view.versions.to_vec())
    }

    /// Has the workstation, the phone and the tablet approve what somebody asks who is no device.
    pub(super) async fn approve_all(&mut self, asking: &mut impl Asking) -> Result<(), Failure> {
        let convened = asking.convened().clone();
        let relay = Relay::open(Some((Ipv4Addr::LOCALHOST, 0).into()), now).await;
        let relay = relay.map_err(failed)?;
        let carried = relay.carry(RelayedCeremony {
            versions: convened.versions,
            id: convened.id,
            expires_at: convened.expires_at,
            notices: convened.notices,
        });
        carried.map_err(failed)?;
        let url = format!("http://{}", relay.address()).parse();
        let urls: [BaseUrl; 1] = [url.map_err(failed)?];
        let options = ApproveOptions {
            words: convened.words,
            ..ApproveOptions::default()
        };
        for device in [&mut self.desk, &mut self.phone, &mut self.tablet] {
            let found = device.approvals(&urls).await.map_err(failed)?;
            let pending = found.pending.first();
            let pending = pending.ok_or_else(|| Failure::new("nothing waits for a device"))?;
            device.approve(pending, &options).await.map_err(failed)?;
        }
        let progress = asking.take(relay.answers()).await?;
        relay.close().await;
        match progress.stand {
            Stand::Approved => Ok(()),
            stand => Err(not_approved(stand)),
        }
    }

    /// Threshold and number of devices, as the workstation knows them.
    pub(super) fn threshold(&self) -> Option<(u8, u8)> {
        let view = self.desk.profile()?;
        let threshold = view.profile.threshold();
        Some((threshold.needed(), threshold.shares()))
    }
}

/// Adds `guest` to the profile of `host`, where `by` approves.
async fn add(
    host: &mut Workstation,
    guest: &mut Workstation,
    by: Option<&mut Workstation>,
    name: &str,
) -> Result<(), Failure> {
    let name = Name::new(name).map_err(failed)?;
    let (mut screen, mut heard) = screen();
    let how = HostOptions {
        method: Method::Qr,
        recovery: false,
        change: options(by.is_none()),
    };
    let hosting = async {
        let added = host.add_device(name, &how, &mut screen).await;
        added.map(drop).map_err(failed)
    };
    let joining = async {
        let uri = heard.recv().await;
        let uri = uri.ok_or_else(|| Failure::new("there is no invitation".to_owned()))?;
        let invitation: Invitation = uri.parse().map_err(failed)?;
        let options = GuestOptions {
            kind: DeviceKind::Mobile,
            wait_ms: how.change.wait_ms,
        };
        let joined = guest.join_by_invitation(&invitation, options).await;
        joined.map(drop).map_err(failed)
    };
    let approving = async {
        match by {
            Some(device) => approve(device).await,
            None => Ok(()),
        }
    };
    tokio::try_join!(hosting, joining, approving)?;
    Ok(())
}

/// Waits until something waits for the device, and approves it.
async fn approve(device: &mut Workstation) -> Result<(), Failure> {
    loop {
        let found = device.approvals(&[]).await.map_err(failed)?;
        if let Some(pending) = found.pending.first() {
            return device
                .approve(pending, &ApproveOptions::default())
                .await
                .map_err(failed);
        }
        sleep(LOOK).await;
    }
}

fn screen() -> (Screen, mpsc::UnboundedReceiver<String>) {
    let (sender, heard) = mpsc::unbounded_channel();
    (Screen(sender), heard)
}

/// Waits on any port for the first device, and where that was for the others.
fn options(first: bool) -> ChangeOptions {
    ChangeOptions {
        listen: first.then_some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)),
        wait_ms: WAIT_MS,
        ..ChangeOptions::default()
    }
}

fn open(folder: &Path, host: &str) -> Result<Workstation, Failure> {
    let config = Config::load(&ConfigFile::None, &ConfigFile::None).map_err(failed)?;
    let environment = Environment {
        clock: now,
        user: "admin".to_owned(),
        host: host.to_owned(),
        user_home: folder.to_owned(),
    };
    Workstation::open(&folder.join(host), config, environment).map_err(failed)
}
