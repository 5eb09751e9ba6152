use std::{
    io::Read,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

/// What a process writes, as it writes it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Output(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    ended: bool,
}

impl Output {
    /// Collects what comes from `source`, until its end.
    pub(crate) fn of(mut source: impl Read + Send + 'static) -> Self {
        let output = Self::default();
        let written = output.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let read = source.read(&mut buffer).unwrap_or(0);
                let (state, changed) = &*written.0;
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                state.bytes.extend_from_slice(&buffer[..read]);
                state.ended = read == 0;
                changed.notify_all();
                if state.ended {
                    return;
                }
            }
        });
        output
    }

    pub(crate) fn text(&self) -> String {
        let state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&state.bytes).into_owned()
    }

    /// Waits until `found` finds something in the text, the output ends, or time is up.
    pub(crate) fn wait<T>(&self, limit: Duration, found: impl Fn(&str) -> Option<T>) -> Option<T> {
        let look = |state: &State| found(&String::from_utf8_lossy(&state.bytes));
        let (state, changed) = &*self.0;
        let state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |state: &mut State| !state.ended && look(state).is_none();
        let (state, _) = changed
            .wait_timeout_while(state, limit, waits)
            .unwrap_or_else(PoisonError::into_inner);
        look(&state)
    }

    /// Waits until the output ends, which is when the process does. `false` when time is up.
    pub(crate) fn wait_end(&self, limit: Duration) -> bool {
        let (state, changed) = &*self.0;
        let state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let (state, _) = changed
            .wait_timeout_while(state, limit, |state| !state.ended)
            .unwrap_or_else(PoisonError::into_inner);
        state.ended
    }
}
