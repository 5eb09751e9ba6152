mod add;
mod join;
mod link;
mod list;
mod remove;
mod words;

use ostrakon_client::people::{ChangeOptions, HostOptions, Method};

use crate::{
    cli::{DeviceCommand, PairingMethod, WaitArguments},
    context::Context,
    error::Failure,
};

pub(crate) async fn run(context: Context, command: DeviceCommand) -> Result<(), Failure> {
    match command {
        DeviceCommand::Add {
            name,
            method,
            recovery,
            threshold,
            wait,
        } => {
            let options = wait.host(method, recovery, threshold);
            add::run(context, name, &options).await
        }
        DeviceCommand::Link { id, method, wait } => {
            let options = wait.host(method, false, None);
            link::run(context, id, &options).await
        }
        DeviceCommand::Join {
            invitation,
            image,
            kind,
            wait,
        } => join::run(context, invitation, image.as_deref(), kind, wait).await,
        DeviceCommand::List => list::run(context).await,
        DeviceCommand::Remove {
            id,
            threshold,
            wait,
        } => remove::run(context, id, &wait.change(threshold)).await,
        DeviceCommand::Words { load: true, .. } => words::load(context),
        DeviceCommand::Words {
            threshold, wait, ..
        } => words::add(context, &wait.change(threshold)).await,
    }
}

impl WaitArguments {
    pub(crate) fn change(&self, threshold: Option<u8>) -> ChangeOptions {
        ChangeOptions {
            threshold,
            listen: self.listen,
            wait_ms: i64::from(self.wait) * 1000,
        }
    }

    fn host(&self, method: PairingMethod, recovery: bool, threshold: Option<u8>) -> HostOptions {
        HostOptions {
            method: match method {
                PairingMethod::Qr => Method::Qr,
                PairingMethod::Code => Method::Code,
            },
            recovery,
            change: self.change(threshold),
        }
    }
}
