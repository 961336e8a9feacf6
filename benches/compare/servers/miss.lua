-- Each request is for another object of 1 KiB. The argument keeps one run's from the next one's.
local n, prefix = 0, nil

function init(args)
    prefix = "/1024/" .. args[1] .. "/"
end

function request()
    n = n + 1
    return wrk.format(nil, prefix .. n)
end
