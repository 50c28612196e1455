//! A definition as SQL text, in ksqlDB's words:
//! `CREATE AGGREGATE emoji INTO "emoji-counts" AS SELECT channel_id, COUNT(*) FROM "emoji" WINDOW TUMBLING (SIZE 2 SECONDS,
//! GRACE PERIOD 500 MILLISECONDS) GROUP BY channel_id EMIT FINAL;`
//!
//! Only reading: what the text says becomes a [`Definition`], checked like any other. Expressions are sqlparser's, the clauses
//! around them are read here, as no dialect of it has windows of this kind.

use super::{
    Definition, DefinitionError, Function, Literal, MAX_GROUP_FIELDS, MAX_MEASURES, Measure, Window, last_segment,
    measure::Condition, sql_options::Options, words,
};
use sqlparser::{
    ast::{BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, SelectItem, UnaryOperator, Value},
    dialect::GenericDialect,
    parser::{Parser, ParserError},
    tokenizer::Token,
};
use std::{collections::BTreeMap, time::Duration};

/// A longer text is no definition.
const MAX_TEXT_BYTES: usize = 64 * 1024;
const UNITS: [(&str, u64); 5] =
    [("MILLISECONDS", 1), ("SECONDS", 1_000), ("MINUTES", 60_000), ("HOURS", 3_600_000), ("DAYS", 86_400_000)];
const WINDOWS: [&str; 4] = ["TUMBLING", "HOPPING", "CUMULATING", "SESSION"];
const FUNCTIONS: [&str; 8] = ["COUNT", "COUNT_DISTINCT", "SUM", "MIN", "MAX", "AVG", "FASTEST", "SHARE"];

impl Definition {
    /// Reads `CREATE AGGREGATE …`; what it does not say has the defaults of the other form.
    pub fn from_sql(text: &str) -> Result<Self, DefinitionError> {
        let refused = |reason| DefinitionError { aggregate: name_in(text), field: "sql", reason };
        if text.len() > MAX_TEXT_BYTES {
            return Err(refused(format!("a definition has at most {MAX_TEXT_BYTES} bytes")));
        }
        let definition = Reader::new(text).and_then(Reader::read).map_err(refused)?;
        definition.validate()?;
        Ok(definition)
    }
}

/// For messages: the word after AGGREGATE.
fn name_in(text: &str) -> String {
    text.split_whitespace().nth(2).unwrap_or_default().trim_matches('"').to_owned()
}

/// What a window clause says.
struct WindowClause {
    window: Window,
    grace: Option<Duration>,
}

struct Reader<'t> {
    parser: Parser<'t>,
}

impl Reader<'_> {
    fn new(text: &str) -> Result<Self, String> {
        let parser = Parser::new(&GenericDialect {}).try_with_sql(text).map_err(worded)?;
        Ok(Self { parser })
    }

    fn read(mut self) -> Result<Definition, String> {
        self.expect("CREATE")?;
        self.expect("AGGREGATE")?;
        let name = self.name()?;
        self.expect("INTO")?;
        let into = self.name()?;
        self.expect("AS")?;
        self.expect("SELECT")?;
        let items = self.list(|parser| parser.parse_select_item())?;
        self.expect("FROM")?;
        let from = self.name()?;
        self.expect("WINDOW")?;
        let clause = self.window()?;
        self.expect("GROUP")?;
        self.expect("BY")?;
        let group_by = self.list(|parser| parser.parse_expr())?.iter().map(path).collect::<Result<Vec<_>, _>>()?;
        self.emit()?;
        let mut definition = Definition { name, from, into, window: clause.window, ..Definition::emoji() };
        definition.measure = measures(&items, &group_by)?;
        definition.group_by = group_by;
        definition.grace = clause.grace.unwrap_or(definition.grace);
        (definition.late, definition.bad) = (None, None);
        self.options(&mut definition)?;
        self.end()?;
        Ok(definition)
    }

    fn peek(&self) -> String {
        self.parser.peek_token_ref().to_string()
    }

    /// True if the next word is this one; then it is passed.
    fn is(&mut self, word: &str) -> bool {
        let found = self.peek().eq_ignore_ascii_case(word);
        if found {
            self.parser.next_token();
        }
        found
    }

    fn expect(&mut self, word: &str) -> Result<(), String> {
        if self.is(word) { Ok(()) } else { Err(format!("found `{}` where {word} belongs", self.peek())) }
    }

    fn name(&mut self) -> Result<String, String> {
        self.parser.parse_identifier().map(|name| name.value).map_err(worded)
    }

    fn list<T>(&mut self, item: impl Fn(&mut Parser<'_>) -> Result<T, ParserError>) -> Result<Vec<T>, String> {
        let mut all = vec![item(&mut self.parser).map_err(worded)?];
        while self.parser.consume_token(&Token::Comma) {
            if all.len() > MAX_GROUP_FIELDS + MAX_MEASURES {
                return Err(format!("at most {MAX_GROUP_FIELDS} fields and {MAX_MEASURES} measures"));
            }
            all.push(item(&mut self.parser).map_err(worded)?);
        }
        Ok(all)
    }

    fn window(&mut self) -> Result<WindowClause, String> {
        let kind = self.parser.next_token().to_string().to_ascii_uppercase();
        if !WINDOWS.contains(&kind.as_str()) {
            return Err(format!("there is no window `{kind}`{}", words::nearest(&kind, &WINDOWS)));
        }
        self.parser.expect_token(&Token::LParen).map_err(worded)?;
        if kind != "SESSION" {
            self.expect("SIZE")?;
        }
        let size = self.time()?;
        let (mut every, mut grace) = (None, None);
        while self.parser.consume_token(&Token::Comma) {
            if self.is("ADVANCE") {
                self.expect("BY")?;
                every = Some(self.time()?);
            } else {
                self.expect("GRACE")?;
                self.expect("PERIOD")?;
                grace = Some(self.time()?);
            }
        }
        self.parser.expect_token(&Token::RParen).map_err(worded)?;
        let window = match (kind.as_str(), every) {
            ("TUMBLING", None) => Window::Tumble(size),
            ("SESSION", None) => Window::Session(size),
            ("HOPPING", Some(every)) => Window::Hop { size, every },
            ("CUMULATING", Some(every)) => Window::Cumulate { size, every },
            ("TUMBLING" | "SESSION", Some(_)) => {
                return Err(format!("a {kind} window has no ADVANCE BY; a HOPPING one has"));
            }
            (kind, None) => {
                return Err(format!("a {kind} window needs ADVANCE BY, as in (SIZE 10 SECONDS, ADVANCE BY 2 SECONDS)"));
            }
            (kind, Some(_)) => return Err(format!("there is no window `{kind}`")),
        };
        Ok(WindowClause { window, grace })
    }

    /// `500 MILLISECONDS`.
    fn time(&mut self) -> Result<Duration, String> {
        let (number, unit) = (self.parser.next_token().to_string(), self.parser.next_token().to_string());
        let number: u64 = number.parse().map_err(|_| format!("`{number}` is not a whole number"))?;
        let unit = unit.to_ascii_uppercase();
        let alike = |name: &str| name == unit || name.strip_suffix('S') == Some(unit.as_str());
        let Some((_, unit_ms)) = UNITS.iter().find(|(name, _)| alike(name)) else {
            let known: Vec<&str> = UNITS.iter().map(|(name, _)| *name).collect();
            return Err(format!("there is no unit `{unit}`{}", words::nearest(&unit, &known)));
        };
        number
            .checked_mul(*unit_ms)
            .map(Duration::from_millis)
            .ok_or_else(|| format!("{number} {unit} is too long a time"))
    }

    fn emit(&mut self) -> Result<(), String> {
        if !self.is("EMIT") || self.is("FINAL") {
            return Ok(());
        }
        Err(format!("EMIT {} is not supported; only FINAL, which is the default", self.peek()))
    }

    /// `WITH (TIMESTAMP = 'sent_at', IDLE_CLOSE = '2s')`.
    fn options(&mut self, definition: &mut Definition) -> Result<(), String> {
        if !self.is("WITH") {
            return Ok(());
        }
        self.parser.expect_token(&Token::LParen).map_err(worded)?;
        let mut options = Options::default();
        loop {
            let name = self.name()?.to_ascii_uppercase();
            self.parser.expect_token(&Token::Eq).map_err(worded)?;
            let value = match self.parser.next_token().token {
                Token::SingleQuotedString(text) | Token::Number(text, _) => text,
                other => return Err(format!("`{other}` is no value for {name}: write a text in single quotes")),
            };
            options.add(name, value)?;
            if !self.parser.consume_token(&Token::Comma) {
                break;
            }
        }
        self.parser.expect_token(&Token::RParen).map_err(worded)?;
        options.apply(definition)
    }

    fn end(&mut self) -> Result<(), String> {
        // There may be one.
        let _ = self.parser.consume_token(&Token::SemiColon);
        match self.parser.peek_token_ref().token {
            Token::EOF => Ok(()),
            _ => Err(format!("`{}` is too much", self.peek())),
        }
    }
}

fn worded(error: ParserError) -> String {
    match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
        ParserError::RecursionLimitExceeded => "the text is nested too deep".to_owned(),
    }
}

/// The functions among the selected; what else is selected must be grouped by.
fn measures(items: &[SelectItem], group_by: &[String]) -> Result<BTreeMap<String, Measure>, String> {
    let mut all = BTreeMap::new();
    for item in items {
        let (expr, alias) = match item {
            SelectItem::UnnamedExpr(expr) => (expr, None),
            SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias.value.clone())),
            other => return Err(format!("`{other}`: name each field and measure")),
        };
        if let Expr::Function(function) = expr {
            let measure = measure(function)?;
            let name = alias.unwrap_or_else(|| default_name(&measure));
            if all.insert(name.clone(), measure).is_some() {
                return Err(format!("two measures are named `{name}`: give one another name with AS"));
            }
            continue;
        }
        let path = path(expr)?;
        if alias.is_some_and(|alias| alias != last_segment(&path)) {
            return Err(format!("`{path}`: only measures take another name by AS"));
        }
        if !group_by.contains(&path) {
            let known: Vec<&str> = group_by.iter().map(String::as_str).collect();
            return Err(format!("`{path}` is selected but not grouped by{}", words::nearest(&path, &known)));
        }
    }
    Ok(all)
}

/// `count`, `sum_score`.
fn default_name(measure: &Measure) -> String {
    let text = measure.to_string();
    let function = text.split('(').next().unwrap_or_default();
    match measure.function.path() {
        Some(path) => format!("{function}_{}", last_segment(path)),
        None => function.to_owned(),
    }
}

fn measure(function: &sqlparser::ast::Function) -> Result<Measure, String> {
    let name = function.name.to_string().to_ascii_uppercase();
    let FunctionArguments::List(list) = &function.args else { return Err(format!("`{function}` has no arguments")) };
    let arguments = list.args.iter().map(argument).collect::<Result<Vec<_>, _>>()?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let own = match (name.as_str(), arguments.as_slice()) {
        ("COUNT", ["*"]) => Function::Count,
        ("COUNT", _) => return Err("COUNT(*) counts events; different values are COUNT_DISTINCT(field)".to_owned()),
        ("COUNT_DISTINCT", arguments) => Function::new("distinct", arguments)?,
        (known, arguments) if FUNCTIONS.contains(&known) => Function::new(&known.to_ascii_lowercase(), arguments)?,
        (other, _) => return Err(format!("there is no function `{other}`{}", words::nearest(other, &FUNCTIONS))),
    };
    let condition = function.filter.as_deref().map(condition).transpose()?;
    if condition.is_some() && matches!(own, Function::Share(_)) {
        return Err("SHARE() is of all events of the group and takes no FILTER".to_owned());
    }
    Ok(Measure { function: own, condition })
}

fn argument(argument: &FunctionArg) -> Result<String, String> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => Ok("*".to_owned()),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) => Ok(value.to_string()),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => path(expr),
        other => Err(format!("`{other}` is neither a field nor a number")),
    }
}

/// `metadata.reaction`.
fn path(expr: &Expr) -> Result<String, String> {
    match expr {
        Expr::Identifier(name) => Ok(name.value.clone()),
        Expr::CompoundIdentifier(names) => {
            Ok(names.iter().map(|name| name.value.as_str()).collect::<Vec<_>>().join("."))
        }
        other => Err(format!("`{other}` is not a field: names separated by dots, as in metadata.reaction")),
    }
}

/// `WHERE answer = 'B'`.
fn condition(expr: &Expr) -> Result<Condition, String> {
    let worded = || format!("`{expr}` is not a condition: write field = 'text', field = 7 or field = TRUE");
    let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = expr else { return Err(worded()) };
    Ok(Condition { path: path(left)?, literal: literal(right).ok_or_else(worded)? })
}

fn literal(expr: &Expr) -> Option<Literal> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(Literal::Text(text.clone())),
            Value::Number(number, _) => number.parse().ok().map(Literal::Integer),
            Value::Boolean(flag) => Some(Literal::Boolean(*flag)),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match literal(expr)? {
            Literal::Integer(number) => number.checked_neg().map(Literal::Integer),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::definition::{Keep, Shape, TimeSource};

    const EXAMPLE: &str = r#"CREATE AGGREGATE emoji INTO "emoji-counts" AS SELECT channel_id, metadata.reaction, COUNT(*) FROM "emoji"
        WINDOW TUMBLING (SIZE 2 SECONDS, GRACE PERIOD 500 MILLISECONDS) GROUP BY channel_id, metadata.reaction EMIT FINAL;"#;

    #[test]
    fn the_text_says_what_the_table_says() {
        let read = Definition::from_sql(EXAMPLE).unwrap();
        assert_eq!(read.fingerprint(), Definition::emoji().fingerprint());
        assert_eq!((read.into.as_str(), read.late_topic().as_str()), ("emoji-counts", "emoji-late"));
        let read = Definition::from_sql(
            "create aggregate quiz into results as select answer, count(*) as answers, COUNT_DISTINCT(user_id), FASTEST(3, user_id) \
             FILTER (WHERE points = -1) AS first, sum(t.score), share() from taps window cumulating (size 10 minutes, advance by 1 second) \
             group by answer with (timestamp = 'sent_at', idle_close = '2s', partitions = 6)",
        )
        .unwrap();
        assert_eq!(read.window, Window::Cumulate { size: Duration::from_secs(600), every: Duration::from_secs(1) });
        let measures: Vec<String> = read.measure.iter().map(|(name, measure)| format!("{name}: {measure}")).collect();
        assert_eq!(
            measures,
            [
                "answers: count()",
                "distinct_user_id: distinct(user_id)",
                "first: fastest(3, user_id) where points = -1",
                "share: share()",
                "sum_score: sum(t.score)"
            ]
        );
        let session = EXAMPLE.replace("TUMBLING (SIZE 2 SECONDS", "SESSION (30 SECONDS");
        assert_eq!(Definition::from_sql(&session).unwrap().window, Window::Session(Duration::from_secs(30)));
        assert_eq!((read.time, read.partitions), (TimeSource::Field("sent_at".to_owned()), 6));
    }

    #[test]
    fn options_are_the_other_forms_settings() {
        let with = "EMIT FINAL WITH (DEDUP_BY = 'user_id, poll.id', KEEP = 'last', LIMIT_BY = 'user_id', LIMIT = 20, OPEN = '2026-06-11T20:00:00Z', \
             CLOSE = '2026-06-11T20:10:00Z', TOP = 3, TOP_PER = 'channel_id', SHAPE = 'window', EARLY = '500ms')";
        let read = Definition::from_sql(&EXAMPLE.replacen("EMIT FINAL", with, 1)).unwrap();
        let (dedup, limit, top) = (read.dedup.unwrap(), read.limit.unwrap(), read.top.unwrap());
        assert_eq!((dedup.by.as_slice(), dedup.keep), (&["user_id".to_owned(), "poll.id".to_owned()][..], Keep::Last));
        assert_eq!((limit.by.as_slice(), limit.max), (&["user_id".to_owned()][..], 20));
        assert_eq!(
            (top.n, top.per, top.by.as_str(), read.shape),
            (3, vec!["channel_id".to_owned()], "count", Shape::Window)
        );
        assert_eq!(
            (read.early, read.close.unwrap().ms - read.open.unwrap().ms),
            (Some(Duration::from_millis(500)), 600_000)
        );
        let read = Definition::from_sql(&EXAMPLE.replacen("EMIT FINAL", "WITH (CORRECTIONS = '10m', BEGIN = '7')", 1))
            .unwrap();
        assert_eq!((read.corrections, read.begin.unwrap().ms), (Some(Duration::from_secs(600)), 7));
    }

    #[test]
    fn what_is_wrong_is_worded() {
        let cases = [
            ("CREATE AGGREGATE", "CREATE TABLE", "found `TABLE` where AGGREGATE belongs"),
            ("2 SECONDS", "2 SECUNDS", "there is no unit `SECUNDS`; did you mean `SECONDS`?"),
            ("2 SECONDS", "two SECONDS", "`two` is not a whole number"),
            ("TUMBLING", "TUMLING", "there is no window `TUMLING`; did you mean `TUMBLING`?"),
            ("TUMBLING", "HOPPING", "a HOPPING window needs ADVANCE BY"),
            ("COUNT(*)", "COUNTT(*)", "there is no function `COUNTT`; did you mean `COUNT`?"),
            ("COUNT(*)", "COUNT(user_id)", "different values are COUNT_DISTINCT"),
            ("COUNT(*)", "COUNT(*), SUM(a), SUM(b.a)", "two measures are named `sum_a`"),
            ("COUNT(*)", "COUNT(*) FILTER (WHERE a > 1)", "`a > 1` is not a condition"),
            (
                "COUNT(*)",
                "chanel_id, COUNT(*)",
                "`chanel_id` is selected but not grouped by; did you mean `channel_id`?",
            ),
            ("SELECT channel_id,", "SELECT *,", "name each field and measure"),
            ("EMIT FINAL", "EMIT CHANGES", "EMIT CHANGES is not supported"),
            (
                "EMIT FINAL",
                "EMIT FINAL WITH (TIMESTMP = 'x')",
                "there is no option `TIMESTMP`; did you mean `TIMESTAMP`?",
            ),
            ("EMIT FINAL", "WITH (KEEP = 'last')", "KEEP says nothing by itself"),
            ("EMIT FINAL", "WITH (DEDUP_BY = 'u', KEEP = 'best')", "KEEP is 'first' or 'last', not `best`"),
            ("EMIT FINAL", "WITH (LIMIT_BY = 'u')", "LIMIT_BY needs LIMIT"),
            ("EMIT FINAL", "WITH (TOP = 'ten')", "`ten` is no number for TOP"),
            ("EMIT FINAL", "WITH (OPEN = 'soon')", "`soon` is no time"),
            ("EMIT FINAL", "WITH (TOP = 1, TOP = 2)", "TOP stands twice"),
            ("EMIT FINAL", "EMIT FINAL HAVING", "`HAVING` is too much"),
            ("\"emoji-counts\"", "emoji", "topic `emoji` is already used as `from`"),
            ("COUNT(*)", "COUNT(*", "Expected"),
        ];
        for (from, to, expected) in cases {
            let error = Definition::from_sql(&EXAMPLE.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(expected), "{to}: {error}");
            assert!(error.starts_with("aggregate `emoji`"), "{error}");
        }
        assert!(Definition::from_sql(&"(".repeat(50_000)).is_err());
    }
}
