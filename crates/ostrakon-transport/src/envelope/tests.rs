use ostrakon_shards::{profile::SignedHead, suite::Suite};
use ostrakon_types::{Denial, Digest};

use super::*;
use crate::{
    fixture::{Device, NOW, PROFILE, Server, location, new_profile, release, request},
    message::{
        Answer, Failure, Item, ItemAnswer, LocationEntry, RefusalCode, RequestBody, ResponseBody,
    },
};

fn answer(body: &RequestBody, items: Vec<ItemAnswer>) -> ResponseBody {
    ResponseBody {
        request_id: Some(body.request_id()),
        server_time: NOW,
        answer: Answer::Items(items),
    }
}

#[test]
fn requests_and_answers_round_trip_in_both_suites() {
    let (server, device) = (Server::new(), Device::new());
    for suite in Suite::ALL {
        let (item, shard) = release(&server, "payroll/2026.xlsx");
        let body = request(vec![item, location()]);
        let (bytes, pending) = device.seal_as(Contact::Known, suite, &server, &body);
        let authentic = server.accept(&device, &bytes).ok().unwrap();
        assert_eq!(authentic.device(), device.card.id());
        let received = authentic.parse(NOW).unwrap();
        assert_eq!(received, body);

        let values = shard.values().to_vec();
        let answers = vec![
            ItemAnswer::Released(shard),
            ItemAnswer::Denied(Denial::Quota { resets_at: NOW }),
        ];
        let sealed = authentic.reply().seal(&answer(&received, answers)).unwrap();
        let response = pending.open(&sealed).ok().unwrap();
        assert_eq!(
            (response.request_id, response.server_time),
            (Some(body.request_id()), NOW)
        );
        match response.answer {
            Answer::Items(items) => match &items[..] {
                [ItemAnswer::Released(shard), ItemAnswer::Denied(denial)] => {
                    assert_eq!(shard.values(), values);
                    assert_eq!(*denial, Denial::Quota { resets_at: NOW });
                }
                _ => panic!("other answers"),
            },
            Answer::Refused(code) => panic!("{code}"),
        }
    }
}
