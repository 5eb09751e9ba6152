use super::*;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

/// A server's line of state: its statements, and the key that signs them.
struct Line {
    root: SigningKey,
    statements: Vec<SignedGeneration>,
}

impl Line {
    fn new() -> Self {
        let root = SigningKey::generate().unwrap();
        let first = SignedGeneration::begin(&root, 0, NOW).unwrap();
        Self {
            root,
            statements: vec![first],
        }
    }

    /// The same server, put back to what it is now.
    fn snapshot(&self) -> Self {
        Self {
            root: SigningKey::from_bytes(&self.root.to_bytes()),
            statements: self.statements.clone(),
        }
    }

    fn newest(&self) -> SignedGeneration {
        *self.statements.last().unwrap()
    }

    fn start(&mut self) -> SignedGeneration {
        let next = self.newest().next(&self.root, NOW).unwrap();
        self.statements.push(next);
        next
    }

    fn history(&self) -> History {
        History::new(&self.statements, &self.root.verify_key()).unwrap()
    }

    fn standing(&self, shown: &SignedGeneration) -> Standing {
        self.history().standing(shown, &self.root.verify_key())
    }
}

#[test]
fn a_line_knows_its_own_statements() {
    let mut line = Line::new();
    let statements = [line.newest(), line.start(), line.start()];
    for shown in &statements {
        assert_eq!(line.standing(shown), Standing::Known);
    }
    assert_eq!(line.newest().generation().to_string(), "0.3");
    let mut history = History::new(&statements[..1], &line.root.verify_key()).unwrap();
    assert!(history.push(statements[2]).is_err());
    history.push(statements[1]).unwrap();
    assert_eq!(history.newest(), &statements[1]);
}

/// A number alone would not tell: the line that was put back counts on from the old number, and
/// passes whatever was seen before.
#[test]
fn a_line_that_was_put_back_is_found_out_whatever_its_number() {
    let mut line = Line::new();
    let mut old = line.snapshot();
    let seen = line.start();
    assert_eq!(old.standing(&seen), Standing::Superseded, "lower");
    old.start();
    assert_eq!(old.newest().generation(), seen.generation());
    assert_eq!(old.standing(&seen), Standing::Superseded, "equal");
    old.start();
    old.start();
    assert!(old.newest().generation() > seen.generation());
    assert_eq!(old.standing(&seen), Standing::Superseded, "higher");
    assert_eq!(
        line.standing(&old.newest()),
        Standing::Superseded,
        "and so the other way"
    );
}

#[test]
fn a_new_epoch_leaves_the_past_behind() {
    let mut line = Line::new();
    let seen = line.start();
    let epoch = seen.generation().next_epoch(NOW);
    assert_eq!(epoch, 1_800_000_000);
    let later = Generation { epoch, counter: 7 }.next_epoch(NOW);
    assert_eq!(later, epoch + 1, "also when the clock stands still");
    let recovered = Line {
        statements: vec![SignedGeneration::begin(&line.root, epoch, NOW).unwrap()],
        root: SigningKey::from_bytes(&line.root.to_bytes()),
    };
    assert_eq!(recovered.standing(&seen), Standing::Known);
    assert_eq!(line.standing(&recovered.newest()), Standing::Superseded);
}

#[test]
fn what_others_sign_means_nothing() {
    let (line, mut other) = (Line::new(), Line::new());
    let shown = other.start();
    assert_eq!(line.standing(&shown), Standing::Foreign);
    assert!(shown.verify(&line.root.verify_key()).is_err());
    let forged = SignedGeneration {
        statement: shown.statement,
        signature: line.newest().signature,
    };
    assert_eq!(line.standing(&forged), Standing::Foreign);
}

#[test]
fn a_history_with_a_hole_or_a_foreign_statement_is_none() {
    let mut line = Line::new();
    line.start();
    line.start();
    let root = line.root.verify_key();
    let [first, second, third] = line.statements[..] else {
        panic!()
    };
    let error = |statements: &[SignedGeneration]| History::new(statements, &root).unwrap_err();
    assert_eq!(error(&[]), HistoryError::Empty);
    let broken = HistoryError::Broken;
    assert_eq!(error(&[second]), broken(second.generation()));
    assert_eq!(error(&[first, third]), broken(third.generation()));
    assert_eq!(error(&[first, first]), broken(first.generation()));
    let stranger = Line::new().newest();
    assert_eq!(
        error(&[stranger]),
        HistoryError::Signature(stranger.generation())
    );
    assert_eq!(error(&[first, stranger]), broken(stranger.generation()));
}
