import ChatTemplates
import JSON
import Testing

/// A template from anywhere ends with a text or an error, soon, and takes nothing with it.
@Suite struct LimitTests {
  private func kind(_ source: String, _ limits: TemplateLimits = TemplateLimits()) -> TemplateError.Kind? {
    do {
      _ = try JinjaTemplate(source, name: "hostile").render(["l": [1, 2, 3], "s": "abc"], limits: limits)
      return nil
    } catch {
      return (error as? TemplateError)?.kind
    }
  }

  private static let deep = 20_000

  @Test(arguments: [
    // Nesting of the source.
    "{{ " + String(repeating: "(", count: deep) + "1" + String(repeating: ")", count: deep) + " }}",
    "{{ " + String(repeating: "[", count: deep) + "1" + String(repeating: "]", count: deep) + " }}",
    "{{ " + String(repeating: "-", count: deep) + "1 }}",
    "{{ " + String(repeating: "not ", count: deep) + "1 }}",
    "{{ 1" + String(repeating: " + 1", count: deep) + " }}",
    "{{ s" + String(repeating: ".x", count: deep) + " }}",
    "{{ s" + String(repeating: "|upper", count: deep) + " }}",
    "{{ 1" + String(repeating: " if 1 else 1", count: deep) + " }}",
    String(repeating: "{% if 1 %}", count: deep) + String(repeating: "{% endif %}", count: deep),
    String(repeating: "{% for i in l %}", count: deep) + String(repeating: "{% endfor %}", count: deep),
    // Recursion.
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% macro f(n) %}{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}{% endmacro %}{{ f() }}",
    "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}",
    // Time.
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% for a in range(99999) %}{% for b in range(99999) %}{{ s.find('x') }}{% endfor %}{% endfor %}",
    // Memory.
    "{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
    "{% set ns = namespace(l=[1, 2]) %}{% for i in range(99) %}{% set ns.l = ns.l + ns.l %}{% endfor %}",
    "{{ 'a' * 99999999999 }}", "{{ [1] * 9223372036854775807 }}", "{{ 'a'.center(9223372036854775807) }}",
    "{{ 'a'.ljust(99999999999, 'é') }}", "{{ '{:99999999999}'.format(1) }}", "{{ '%99999999999d' % 1 }}",
    "{{ 'a'.zfill(9223372036854775807) }}", "{{ '\\t'.expandtabs(9223372036854775807) }}",
    "{{ [1]|tojson(indent=9223372036854775807) }}",
    "{{ 'a\\nb'|indent(9223372036854775807) }}", "{{ [1]|batch(9223372036854775807, 1)|list }}",
    "{{ s|center(9223372036854775807) }}",
    "{% for i in range(99999) %}{{ 'a' * 99999 }}{% endfor %}",
    "{% set ns = namespace(l=[]) %}{% for i in range(99999) %}{% set ns.l = [ns.l] %}{% endfor %}",
    "{% set ns = namespace(l=l) %}{% for i in range(99999) %}{% set ns.l = ns.l|map('abs') %}{% endfor %}",
    // Numbers.
    "{{ 9223372036854775807 + 1 }}", "{{ -9223372036854775807 - 2 }}", "{{ 9223372036854775807 * 2 }}",
    "{{ (-9223372036854775807 - 1) // -1 }}", "{{ -(-9223372036854775807 - 1) }}",
    "{{ (-9223372036854775807 - 1)|abs }}",
    "{{ 2 ** 64 }}", "{{ 99 ** 9223372036854775807 }}", "{{ 99999999999999999999 }}", "{{ 1e300|int }}",
    "{{ range(9223372036854775807) }}",
    "{{ range(-9223372036854775807, 9223372036854775807) }}",
    "{{ range(0, -9223372036854775807, -9223372036854775807 - 1) }}",
    "{{ '99999999999999999999'|int }}", "{{ 1e300|round(0, 'ceil') }}", "{{ '%d' % 1e300 }}",
  ]) func isRefused(source: String) {
    var limits = TemplateLimits()
    // The default takes a second or so to be reached.
    limits.maximumSteps = 3_000_000
    let kind = kind(source, limits)
    #expect(kind == .limit || kind == .value, "\(source.prefix(80)): \(String(describing: kind))")
  }

  /// Things that Python does without complaint, at the edges of what fits 64 bits.
  @Test(arguments: [
    ("{{ (-9223372036854775807 - 1) % -1 }}", "0"), ("{{ s[9223372036854775807] }}|", "|"),
    ("{{ s[-9223372036854775807:9223372036854775807:9223372036854775807] }}", "a"),
    ("{{ s[::-9223372036854775807] }}", "c"),
    ("{{ s.find('b', -9223372036854775807, 9223372036854775807) }}", "1"),
    ("{{ s|replace('a', 'b', 9223372036854775807) }}", "bbc"),
    ("{{ 1.5|round(9223372036854775807) }}", "1.5"),
    ("{{ 15|round(-9223372036854775807) }}", "0"), ("{{ s|truncate(9223372036854775807) }}", "abc"),
    ("{{ range(9223372036854775806, 9223372036854775807)|list }}", "[9223372036854775806]"),
    ("{{ 0 ** 9223372036854775807 }}{{ 1 ** 9223372036854775807 }}{{ (-1) ** 9223372036854775807 }}", "01-1"),
    ("{{ 9223372036854775807 == 9223372036854775807.0 }}", "False"),
  ]) func isComputed(source: String, expected: String) throws {
    #expect(try JinjaTemplate(source).render(["s": "abc"]) == expected)
  }

  /// Values that hold one another in long chains or circles are freed without recursion.
  @Test(arguments: [
    "{% set ns = namespace() %}{% for i in range(99999) %}{% set ns = namespace(a=ns) %}{% endfor %}",
    "{% set q = namespace() %}{% for i in range(99999) %}{% set q.a = namespace(a=q.a) %}{% endfor %}",
    "{% set q = namespace() %}{% for i in range(9999) %}{% for j in [1] %}{% if loop.changed(q.a) %}{% endif %}{% set q.a = loop %}{% endfor %}{% endfor %}",
    "{% set q = namespace() %}{% for i in range(9999) %}{% for j in [1] %}{% set k = [loop] %}{% if loop.changed(q.a) %}{% endif %}{% set q.a = k %}{% endfor %}{% endfor %}",
    "{% set q = namespace() %}{% macro m(p) %}{% macro g() %}{{ p }}{% endmacro %}{% set q.m = g %}{% endmacro %}{% for i in range(9999) %}{{ m(q.m) }}{% endfor %}",
    "{% set q = namespace() %}{% macro keep() %}{% set q.m = caller %}{% endmacro %}{% macro m(p) %}{% call keep() %}{{ p }}{% endcall %}{% endmacro %}{% for i in range(9999) %}{{ m(q.m) }}{% endfor %}",
    "{% set q = namespace() %}{% macro m(p) %}{% for i in [1] if p or true %}{% set q.m = loop %}{% endfor %}{% endmacro %}{% for i in range(9999) %}{{ m(q.m) }}{% endfor %}",
  ]) func endsWithoutHarm(source: String) throws {
    do {
      _ = try JinjaTemplate(source).render()
    } catch let error as TemplateError {
      #expect(error.kind == .limit)
    }
  }

  /// The depth that is allowed is the depth that the stack has room for, in a build of any kind.
  @Test func theDeepestNestingFits() {
    var limits = TemplateLimits()
    limits.maximumSteps = 50_000_000
    let filters = String(repeating: "|default", count: 150)
    let bodies = [
      "{{ f() }}",
      "{% for i in [1] %}{% if 1 %}{% filter trim %}{{ f()\(filters) }}{% endfilter %}{% endif %}{% endfor %}",
      "{% set x %}{{ [{'a': (f() ~ '')|string}]|map(attribute='a')|join }}{% endset %}{{ x }}",
      "{{ [1]|map('default')|select('eq', f())|list }}",
      "{% macro g() %}{{ caller() }}{% endmacro %}{% call g() %}{{ f() }}{% endcall %}",
    ]
    for body in bodies {
      #expect(kind("{% macro f() %}\(body){% endmacro %}{{ f() }}", limits) == .limit, "\(body.prefix(60))")
    }
  }

  @Test func errorsNameTemplateAndLine() throws {
    let error = #expect(throws: TemplateError.self) {
      try JinjaTemplate("a\n\n{{ missing.x }}", name: "folder/chat_template.jinja").render()
    }
    #expect(error?.description == "folder/chat_template.jinja, line 3: 'missing' is undefined")
    let syntax = #expect(throws: TemplateError.self) {
      try JinjaTemplate("\n{% if %}", name: "t\n\u{1B}[31m")
    }
    #expect(
      syntax?.description == "t\\n\\u{1b}[31m, line 2: Expected an expression, got 'end of statement block'")
    #expect(kind("{% include 'x' %}") == .unsupported && kind("{% extends 'x' %}") == .unsupported)
    #expect(kind("{% block x %}{% endblock %}") == .unsupported)
  }

  @Test func aStrictRenderingNamesWhatIsMissing() throws {
    let template = try JinjaTemplate("{{ a }}{% if b is defined %}{{ b }}{% endif %}{{ c | default('d') }}")
    #expect(template.variables == ["a", "b", "c"])
    #expect(try template.render(["a": 1], isStrict: true) == "1d")
    let error = #expect(throws: TemplateError.self) {
      try template.render(["b": 1], isStrict: true)
    }
    #expect(error?.kind == .undefined && error?.message == "'a' is undefined")
    for source in [
      "{% if x %}{% endif %}", "{% for i in x %}{% endfor %}", "{{ x|upper }}", "{{ x == 1 }}", "{{ x ~ 1 }}",
    ] {
      #expect(throws: TemplateError.self, "\(source)") { try JinjaTemplate(source).render(isStrict: true) }
    }
  }
}
