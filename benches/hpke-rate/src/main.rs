//! How many HPKE messages of 64 bytes one core opens in a second, each with a key agreement of its own:
//! by the `hpke` crate alone, which is the yardstick, and as Ostrakon does it, in both suites.
//!
//! Writes one JSON object. The three take turns, so that a machine whose speed changes changes for all. Time is
//! that on the processor, so that what else runs on the machine takes nothing away.

use std::{error::Error, fs, hint::black_box, time::Duration};

use hpke::{
    Deserializable, Kem, OpModeR, OpModeS, Serializable,
    aead::AesGcm256,
    kdf::HkdfSha256,
    kem::X25519HkdfSha256,
    setup_receiver, setup_sender,
};
use ostrakon_shards::{
    channel::{Receiver, Sender},
    kem::KemSecret,
    suite::Suite,
};

const INFO: &[u8] = &[7; 64];
const MESSAGE: &[u8] = &[9; 64];
const TURNS: u32 = 5;

type Failed = Box<dyn Error>;
type Open = Box<dyn Fn() -> Result<(), Failed>>;

fn main() -> Result<(), Failed> {
    let seconds: f64 = std::env::args().nth(1).map_or(Ok(1.0), |text| text.parse())?;
    let turn = Duration::from_secs_f64(seconds / f64::from(TURNS));
    let opens = [crate_alone()?, ours(Suite::X25519)?, ours(Suite::XWing)?];
    let mut rates = [0.0; 3];
    for _ in 0..TURNS {
        for (open, rate) in opens.iter().zip(&mut rates) {
            *rate += per_second(open, turn)? / f64::from(TURNS);
        }
    }
    let [hpke, x25519, x_wing] = rates;
    println!(r#"{{"hpke":{hpke:.0},"x25519":{x25519:.0},"x_wing":{x_wing:.0}}}"#);
    Ok(())
}

fn per_second(open: &Open, during: Duration) -> Result<f64, Failed> {
    let (begin, mut opened) = (on_processor()?, 0_u32);
    loop {
        for _ in 0..64 {
            open()?;
        }
        opened += 64;
        let took = on_processor()? - begin;
        if took >= during {
            return Ok(f64::from(opened) / took.as_secs_f64());
        }
    }
}

/// For how long this process, which has one thread, has run.
fn on_processor() -> Result<Duration, Failed> {
    let stat = fs::read_to_string("/proc/self/schedstat")?;
    let nanos = stat.split(' ').next().unwrap_or_default();
    Ok(Duration::from_nanos(nanos.parse()?))
}

fn crate_alone() -> Result<Open, Failed> {
    let (secret, public) = X25519HkdfSha256::gen_keypair();
    let failed = |error| Failed::from(format!("{error}"));
    let (encapped, mut sender) = setup_sender::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
        &OpModeS::Base,
        &public,
        INFO,
    )
    .map_err(failed)?;
    let sealed = sender.seal(MESSAGE, b"").map_err(failed)?;
    let encapped = encapped.to_bytes();
    Ok(Box::new(move || {
        let encapped = Deserializable::from_bytes(&encapped).map_err(failed)?;
        let mut receiver = setup_receiver::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &secret,
            &encapped,
            INFO,
        )
        .map_err(failed)?;
        black_box(receiver.open(&sealed, b"").map_err(failed)?);
        Ok(())
    }))
}

fn ours(suite: Suite) -> Result<Open, Failed> {
    let secret = KemSecret::generate()?;
    let mut sender = Sender::setup(suite, secret.public(), INFO)?;
    let sealed = sender.seal(b"", MESSAGE)?;
    let encapped = sender.encapsulated().to_vec();
    Ok(Box::new(move || {
        let mut receiver = Receiver::setup(suite, &secret, &encapped, INFO)?;
        black_box(receiver.open(b"", &sealed)?);
        Ok(())
    }))
}
