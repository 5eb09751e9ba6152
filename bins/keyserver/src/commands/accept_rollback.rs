use ostrakon_server::ceremony::{Ask, Fulfilled, Operation};
use serde_json::json;

use super::{Context, administrators, ceremony};
use crate::{
    cli::{AskArgs, Format},
    error::Failure,
};

pub(crate) async fn run(context: &Context, args: &AskArgs) -> Result<(), Failure> {
    let ask = Ask {
        operation: Operation::AcceptRollback,
        profile: administrators::profile(args)?,
        wait_ms: args.wait.wait_ms(),
    };
    let fulfilled = ceremony::of_server(context, ask, args, |_| Ok(())).await?;
    let Fulfilled::GoesOn {
        from,
        as_generation,
    } = fulfilled
    else {
        return Err(ceremony::another());
    };
    match context.format {
        Format::Human => println!("the server goes on with state {from}, as {as_generation}"),
        Format::Json | Format::Cef => {
            println!("{}", json!({ "from": from, "generation": as_generation }));
        }
    }
    eprintln!("Another server with this id stops at the first client that has met this one.");
    Ok(())
}
