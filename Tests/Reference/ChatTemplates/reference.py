"""What transformers and jinja2 make of a template: the other side of every comparison here."""

import datetime as datetime_module
import warnings

import jinja2
import transformers
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

warnings.filterwarnings("ignore")  # Python warns of escapes such as "\d" in string literals.

# The moment that strftime_now reads, as local time.
MOMENT = dict(year=2024, month=7, day=26, hour=9, minute=5, second=3, microsecond=42)


class FixedDatetime(datetime_module.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(**MOMENT)


chat_template_utils.datetime = FixedDatetime

VERSIONS = {"transformers": transformers.__version__, "jinja2": jinja2.__version__}


def classify(error):
    """The kind of an error, in the words of `TemplateError.Kind`."""
    exceptions = jinja2.exceptions
    if isinstance(error, exceptions.TemplateSyntaxError):
        return "syntax", error.message or ""
    if isinstance(error, exceptions.SecurityError):
        return "security", str(error)
    if isinstance(error, exceptions.UndefinedError):
        return "undefined", str(error)
    if type(error) is exceptions.TemplateError:
        return "raised", str(error.message)
    if isinstance(error, (SyntaxError, AssertionError, exceptions.TemplateAssertionError)):
        return "syntax", str(error)
    if isinstance(error, TypeError):
        return "type", str(error)
    return "value", str(error)


def outcome(run):
    """`{"expected": text}` or `{"expected": message, "error": kind}`."""
    try:
        text = run()
        # A lone surrogate is a character to Python's strings, and to nothing else.
        text.encode("utf-8")
        return {"expected": text}
    except UnicodeEncodeError:
        return {"expected": "a lone surrogate", "error": "value"}
    except RecursionError:
        return {"expected": "recursion", "error": "limit"}
    except Exception as error:
        kind, message = classify(error)
        return {"expected": message, "error": kind}


def render(source, variables):
    """A plain template in the environment of chat templates."""
    chat_template_utils._compile_jinja_template.cache_clear()
    return outcome(lambda: chat_template_utils._cached_compile_jinja_template(source).render(**variables))


_tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, unk_token="a")))


def apply(source, case):
    """`apply_chat_template` on a case: messages, tools, documents, special tokens, flags and variables."""
    tokenizer = _tokenizer
    for role in ["bos_token", "eos_token", "unk_token", "pad_token"]:
        tokenizer._special_tokens_map[role] = case.get("special_tokens", {}).get(role)
    return outcome(
        lambda: tokenizer.apply_chat_template(
            case["messages"],
            tools=case.get("tools"),
            documents=case.get("documents"),
            chat_template=source,
            add_generation_prompt=case.get("add_generation_prompt", False),
            continue_final_message=case.get("continue_final_message", False),
            tokenize=False,
            **case.get("variables", {}),
        )
    )
