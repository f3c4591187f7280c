#!/usr/bin/env bash
# The logic of action.yml: measure a server, judge it, tell the pull request. Inputs come as GATE_* variables and are
# never made part of a command line as text. `gate.sh prepare` says where the baseline lies, `gate.sh measure` does the
# rest and exits as abatch does.
set -euo pipefail
export LC_ALL=C.UTF-8

MOST_COMMENT_CHARACTERS=60000 # GitHub takes 65,536

abatch=${GATE_ABATCH:-abatch}
name=${GATE_NAME:-latency}
folder=abatch-$name
run=$folder/run
markdown=$folder/report.md
cached_baseline=.abatch-baseline/$name

say() { printf 'abatch: %s\n' "$1"; }

refuse() {
    say "$1"
    exit 2
}

output() { printf '%s=%s\n' "$1" "${2//$'\n'/ }" >> "$GITHUB_OUTPUT"; }

check_inputs() {
    [[ $name =~ ^[A-Za-z0-9][A-Za-z0-9_-]*$ ]] || refuse "the input name is letters, digits, _ and -"
    [[ -n ${GATE_URL:-} ]] || refuse "the input url is empty: name the server (is its variable or secret set?)"
}

# Options of the measurement, one an element. As --option=VALUE, nothing in a value can be read as an option.
measuring_options() {
    options=("--url=$GATE_URL" "--workload=${GATE_WORKLOAD:-chat-short}" "--duration=${GATE_DURATION:-2m}")
    [[ -z ${GATE_RATE:-} ]] || options+=("--request-rate=$GATE_RATE")
    local line
    while IFS= read -r line; do
        [[ -z $line ]] || options+=("$line")
    done < <(lines "${GATE_ARGUMENTS:-}")
}

# The lines of a text, without the spaces around them.
lines() { printf '%s\n' "$1" | sed 's/^[[:space:]]*//; s/[[:space:]]*$//'; }

prepare() {
    check_inputs
    measuring_options
    # Another server, workload or version of abatch is another baseline.
    local hash
    hash=$({ "$abatch" --version && printf '%s\n' "${options[@]}"; } | sha256sum)
    rm -rf "$cached_baseline" # of an earlier job, where the runner keeps its files: the cache has the right one
    output key "abatch-$name-${hash:0:16}"
    output baseline "$cached_baseline"
}

measure() {
    check_inputs
    measuring_options
    local baseline=${GATE_BASELINE:-$cached_baseline} notes=() rule
    if [[ -f $baseline/config.json ]]; then
        options+=("--baseline=$baseline")
    else
        baseline=
        notes+=("No baseline yet: this run is compared with none. The first run of the default branch becomes it.")
        [[ -z ${GATE_BASELINE:-} ]] || notes=("There is no run at the baseline $GATE_BASELINE: it is compared with none.")
    fi
    while IFS= read -r rule; do
        [[ -n $rule ]] || continue
        if [[ -z $baseline && $rule =~ (^|[^A-Za-z0-9_])baseline($|[^A-Za-z0-9_]) ]]; then
            notes+=("Not judged without a baseline: $rule")
        else
            options+=("--require=$rule")
        fi
    done < <(lines "${GATE_RULES:-}")
    if ((${#notes[@]})); then
        for rule in "${notes[@]}"; do say "$rule"; done
    fi

    rm -rf "$folder"
    mkdir -p "$folder"
    local code=0
    "$abatch" bench "${options[@]}" --output="$run" \
        --markdown="$markdown" --html="$folder/report.html" --junit="$folder/junit.xml" || code=$?

    local outcome verdict=
    case $code in
        0) outcome=passed ;;
        3) outcome=failed ;;
        4) outcome=inconclusive ;;
        *) outcome=error ;;
    esac
    [[ ! -f $markdown ]] || verdict=$(sed -n '1s/^## abatch: //p' "$markdown")
    output exit-code "$code"
    output outcome "$outcome"
    output verdict "$verdict"
    output folder "$folder"
    output run "$run"
    output report "$folder/report.html"
    output markdown "$markdown"
    keep_baseline "$code"
    [[ ${GATE_COMMENT:-true} != true ]] || comment "$outcome" "${notes[@]+"${notes[@]}"}"
    [[ $code != 4 || ${GATE_FAIL_ON_INCONCLUSIVE:-true} == true ]] || code=0
    exit "$code"
}

# A run of the default branch is what later ones are compared with, unless a rule failed: it must not get worse step by
# step.
keep_baseline() {
    [[ -z ${GATE_BASELINE:-} && ${GITHUB_REF:-} == "refs/heads/${GATE_DEFAULT_BRANCH:-main}" ]] || return 0
    [[ $1 == 0 || $1 == 4 ]] || return 0
    rm -rf "$cached_baseline"
    mkdir -p "$(dirname "$cached_baseline")"
    cp -r "$run" "$cached_baseline"
    output has-new-baseline true
    say "this run is the baseline from now on"
}

# One comment, made by the first run and changed by later ones.
comment() {
    local outcome=$1 pull_request=${GATE_PULL_REQUEST:-} marker="<!-- abatch $name -->"
    shift
    [[ -n $pull_request ]] || return 0
    [[ -f $markdown ]] || { say "no comment: there is no report"; return 0; }
    command -v gh > /dev/null || { say "no comment: the gh command is not installed"; return 0; }
    local body existing comments=repos/${GITHUB_REPOSITORY:-}/issues
    body="$marker"$'\n'"$(printf '> %s\n' "$@" | sed '/^> $/d')"$'\n\n'"$(cat "$markdown")"
    if ((${#body} > MOST_COMMENT_CHARACTERS)); then
        body=${body:0:MOST_COMMENT_CHARACTERS}$'\n\n'"The rest is in the report of the job."
    fi
    printf '%s' "$body" > "$folder/comment.md"
    existing=$(gh api --paginate "$comments/$pull_request/comments?per_page=100" \
        --jq ".[] | select(.body | startswith(\"$marker\")) | .id") || {
        say "no comment: the comments of the pull request cannot be read"
        return 0
    }
    existing=${existing%%$'\n'*}
    if [[ -n $existing ]]; then
        gh api --silent --method PATCH "$comments/comments/$existing" --field "body=@$folder/comment.md" && return 0
    else
        gh api --silent --method POST "$comments/$pull_request/comments" --field "body=@$folder/comment.md" && return 0
    fi
    say "no comment: that needs 'pull-requests: write', which pull requests from forks do not have ($outcome)"
}

case ${1:-} in
    prepare | measure) "$1" ;;
    *) refuse "gate.sh prepare, or gate.sh measure" ;;
esac
