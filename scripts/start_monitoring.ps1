# Starts the hub with its monitoring on Windows: finds a Python and runs start.py with the same arguments.
# Windows PowerShell 5.1 and newer. Everything else, also the check of the Python version and what -Production,
# -Status and -Stop do, is in start.py.

$start = Join-Path $PSScriptRoot 'start.py'

if (Get-Command py -ErrorAction SilentlyContinue) {
    & py -3.11 -c 'pass' 2>$null
    if ($LASTEXITCODE -eq 0) { & py -3.11 $start @args } else { & py -3 $start @args }
    exit $LASTEXITCODE
}

if (Get-Command python -ErrorAction SilentlyContinue) {
    & python $start @args
    exit $LASTEXITCODE
}

Write-Host 'Order Hub needs Python 3.11 or newer. Install it with: winget install Python.Python.3.12'
exit 1
