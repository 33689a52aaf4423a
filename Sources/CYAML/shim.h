// LibYAML, an event-driven YAML parser. Only the Training target imports this module.
#pragma once
#include <yaml.h>
